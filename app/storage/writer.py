"""How a write becomes a transaction: `DirectWriter` gives each one its own; see `group_commit` for the other way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from sqlalchemy import Connection

from app.storage.database import Database

T = TypeVar("T")


class Writer(Protocol):
    def write(self, statements: Callable[[Connection], T], *, order: int = 0, single_statement: bool = False) -> T:
        """Run `statements` in a transaction and return what they return, once it is committed.

        A `GatewayError` that they raise is raised here; it must come before they have written anything. Writes that
        share a transaction are sorted by `order`. `single_statement` saves the round trips of BEGIN and COMMIT. Raises
        `DatabaseUnavailable`, or `CommitOutcomeUnknown` if the commit itself failed.
        """
        ...


class DirectWriter:
    def __init__(self, database: Database) -> None:
        self._database = database

    def write(self, statements: Callable[[Connection], T], *, order: int = 0, single_statement: bool = False) -> T:
        with self._database.connection(single_statement=single_statement) as connection:
            return statements(connection)
