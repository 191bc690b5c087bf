"""`ObjectStore`: the interface of stores for named byte strings, and its errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", re.ASCII)


class ObjectMissing(LookupError):
    """There is no object of this name."""


class ObjectsUnavailable(Exception):
    """The store does not respond, or rejects the operation; the cause is chained. A later attempt may succeed."""


@dataclass(frozen=True)
class ObjectInfo:
    """`size` is in bytes, `modified` in unix seconds."""

    name: str
    size: int
    modified: float


class Chunks(Iterator[bytes]):
    """An object that is being read. A generator would not be closed before its first chunk is taken."""

    def __init__(self, read: Callable[[], bytes], close: Callable[[], None]) -> None:
        """`read` returns the next chunk, empty at the end."""
        self._read = read
        self.close = close

    def __next__(self) -> bytes:
        if chunk := self._read():
            return chunk
        self.close()
        raise StopIteration


class ObjectStore(Protocol):
    """Named byte strings. Names have 1 to 200 of `A-Za-z0-9._-` and begin with a letter or digit.

    An object is written whole or not at all: nobody reads half of one, whatever is killed in between. Every method
    raises `ObjectsUnavailable`, and ValueError for another name. Safe for threads and greenlets.
    """

    def write(self, name: str, chunks: Iterable[bytes], size: int) -> None:
        """Store `chunks`, which are `size` bytes altogether, durably. Replaces an object of the same name.

        Raises ValueError if `chunks` are of another size.
        """
        ...

    def read(self, name: str) -> Chunks:
        """The object in chunks. Raises `ObjectMissing` when it is called, not when the first chunk is taken.

        Close it, unless it is read to its end.
        """
        ...

    def delete(self, name: str) -> None:
        """Delete the object, if there is one."""
        ...

    def names_older_than(self, seconds: float) -> Iterator[str]:
        """The names of the objects last written more than `seconds` ago, in no order.

        They may be deleted meanwhile. Leftovers of writers that were killed are among them, under names that only
        `delete` takes.
        """
        ...

    def entries(self) -> Iterator[ObjectInfo]:
        """All objects, in no order."""
        ...


def check_name(name: str) -> str:
    """Return `name`. Raises ValueError if it is not a name of an object, such as one with a slash."""
    if not _NAME.fullmatch(name):
        raise ValueError("not a name of an object")
    return name
