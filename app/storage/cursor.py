"""Position in a list of usage rows, newest first, from which the next page goes on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol, Self

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_PATTERN = re.compile(r"(\d{1,16})-([0-9a-f]{32})", re.ASCII)  # 16 digits last until the year 2286


class _Row(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def created_at(self) -> datetime: ...


@dataclass(frozen=True)
class Cursor:
    """The last row of a page. It holds both columns by which rows are ordered, so the row itself may be deleted."""

    created_at: datetime
    id: str

    @classmethod
    def after(cls, row: _Row) -> Self:
        return cls(row.created_at, row.id)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` wrote. Raises `ValueError`."""
        found = _PATTERN.fullmatch(text)
        if found is None:
            raise ValueError("not a cursor")
        return cls(_EPOCH + int(found[1]) * _MICROSECOND, found[2])

    def __str__(self) -> str:
        return f"{(self.created_at - _EPOCH) // _MICROSECOND}-{self.id}"
