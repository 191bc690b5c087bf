"""Times of rows: a `datetime` in UTC; SQLite has them as text without a time zone."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    return datetime.now(UTC)


def to_sqlite(value: datetime) -> str:
    """As SQLAlchemy writes it. Texts compare as their times do."""
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


def from_row(value: datetime | str) -> datetime:
    """The time in a row of either database."""
    if isinstance(value, str):
        return datetime.fromisoformat(value).replace(tzinfo=UTC)
    return value.astimezone(UTC)
