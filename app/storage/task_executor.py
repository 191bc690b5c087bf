"""What runs the SQL of the task store: `DatabaseExecutor` on a database, `AnswersFile` on a file without SQLAlchemy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Row(Protocol):
    """Values by the names of their columns, as the driver gives them."""

    def __getitem__(self, name: str, /) -> Any: ...


# Runs one statement with its named parameters, and returns its rows, if it has any. A time is a `datetime`.
Run = Callable[[str, Mapping[str, Any]], Sequence[Row]]


class TaskExecutor(Protocol):
    """Both methods raise `DatabaseUnavailable`."""

    skip_locked: str  # the clause that leaves out rows that another transaction has locked

    def write(self, statements: Callable[[Run], T]) -> T:
        """Run `statements` in a transaction and return what they return, once it is committed."""
        ...

    def read(self, sql: str, values: Mapping[str, Any]) -> Sequence[Row]: ...
