"""Usage: one row per request, and totals by day and model."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, Executable, delete, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from app.errors import UsageQueryLimit
from app.storage.cursor import Cursor
from app.storage.database import Database
from app.storage.tables import USAGE, UsageRecord, between_days, utc_day
from app.storage.times import now
from app.storage.writer import DirectWriter, Writer

DELETE_BATCH_SIZE = 10_000
# Totals of a year take a while. However many callers query them, most of the connection pool is left for billing.
MAX_CONCURRENT_QUERIES = 2

_ADD: dict[str, Executable] = {
    "sqlite": sqlite.insert(USAGE).on_conflict_do_nothing().returning(USAGE.c.id),
    # A crash of the server may lose the last half second of usage, though never of the ledger. Waiting for its disk
    # would add half as much again to what billing costs a call.
    "postgresql": postgresql.insert(USAGE)
    .on_conflict_do_nothing()
    .returning(func.set_config("synchronous_commit", "off", True)),
}


@dataclass(frozen=True)
class Total:
    """Totals of one day (UTC) and model. `asked` and `delivered` count images, `charged` is in micro-units.

    `taken` counts the requests by how their answer was taken, with the ways that occurred: see `app.metrics.WAYS`.
    """

    day: str
    model: str | None
    requests: int
    asked: int
    delivered: int
    charged: int
    taken: Mapping[str, int]


class UsageStore:
    def __init__(self, database: Database, writer: Writer | None = None) -> None:
        """`writer` commits rows, and nothing else: see `_ADD`. By default each has a transaction of its own."""
        self._database = database
        self._writer = writer or DirectWriter(database)
        self._queries = threading.BoundedSemaphore(MAX_CONCURRENT_QUERIES)
        self._add = _ADD[database.engine.dialect.name]

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a row, given by the names of its columns, `created_at` in ISO 8601. An `id` that exists is ignored."""
        values = dict(row) | {"created_at": datetime.fromisoformat(row["created_at"])}
        self._writer.write(
            lambda connection: connection.execute(self._add, values).all(), order=row["key_id"], single_statement=True
        )

    def rows(self, key_id: int, first: date, last: date) -> Sequence[UsageRecord]:
        """The rows of a key from `first` to `last` inclusive (UTC), oldest first."""
        with self._database.transaction(read_only=True) as session:
            return session.scalars(
                select(UsageRecord)
                .where(UsageRecord.key_id == key_id, *between_days(UsageRecord.created_at, first, last))
                .order_by(UsageRecord.created_at)
            ).all()

    def totals(self, key_id: int, first: date, last: date) -> list[Total]:
        """Totals of a key by day and model, from `first` to `last` inclusive (UTC).

        Raises `UsageQueryLimit` if `MAX_CONCURRENT_QUERIES` are running in this process.
        """
        with self._query():
            return self._database.reader_threads.call(self._totals, key_id, first, last)

    def latest(self, key_id: int, limit: int, before: Cursor | None = None) -> Sequence[UsageRecord]:
        """Up to `limit` rows of a key, newest first; with `before`, those that come after it in that order.

        Raises `UsageQueryLimit` as `totals` does.
        """
        with self._query():
            return self._database.reader_threads.call(self._latest, key_id, limit, before)

    @contextmanager
    def _query(self) -> Iterator[None]:
        if not self._queries.acquire(blocking=False):  # waiting would hold a thread
            raise UsageQueryLimit
        try:
            yield
        finally:
            self._queries.release()

    def _latest(self, key_id: int, limit: int, before: Cursor | None) -> Sequence[UsageRecord]:
        with self._database.transaction(read_only=True) as session:
            return session.scalars(
                select(UsageRecord)
                .where(UsageRecord.key_id == key_id, *(_older_than(before) if before else ()))
                .order_by(UsageRecord.created_at.desc(), UsageRecord.id.desc())
                .limit(limit)
            ).all()

    def _totals(self, key_id: int, first: date, last: date) -> list[Total]:
        day = utc_day(UsageRecord.created_at)
        columns = (
            func.count(),
            func.sum(UsageRecord.asked),
            func.sum(UsageRecord.delivered),
            func.sum(UsageRecord.charged),
        )
        with self._database.transaction(read_only=True) as session:
            rows = session.execute(
                select(day, UsageRecord.model, UsageRecord.taken, *columns)
                .where(UsageRecord.key_id == key_id, *between_days(UsageRecord.created_at, first, last))
                .group_by(day, UsageRecord.model, UsageRecord.taken)
                .order_by(day, UsageRecord.model.nulls_last(), UsageRecord.taken)
            ).all()
        return [_total(str(day), model, list(group)) for (day, model), group in groupby(rows, lambda row: row[:2])]

    def remove_older_than(self, days: int) -> int:
        """Delete up to `DELETE_BATCH_SIZE` rows, so that no lock is held for long; returns how many were deleted."""
        return self._database.writer_thread.call(self._remove_older_than, days)

    def _remove_older_than(self, days: int) -> int:
        expired = (
            select(USAGE.c.id)
            .where(USAGE.c.created_at < now() - timedelta(days=days))
            .limit(DELETE_BATCH_SIZE)
            .with_for_update(skip_locked=True)  # workers delete at the same time
        )
        with self._database.connection() as connection:
            return connection.execute(delete(USAGE).where(USAGE.c.id.in_(expired))).rowcount


def _older_than(cursor: Cursor) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """The first condition is there for the index, which databases do not use for the second one."""
    moment = UsageRecord.created_at
    is_later_row = or_(moment < cursor.created_at, UsageRecord.id < cursor.id)
    return moment <= cursor.created_at, is_later_row


def _total(day: str, model: str | None, rows: Sequence[Any]) -> Total:
    """The total of the `rows` of one day and model, a row for each way in which answers were taken."""
    requests, asked, delivered, charged = (sum(int(row[column]) for row in rows) for column in range(3, 7))
    return Total(day, model, requests, asked, delivered, charged, {row[2]: int(row[3]) for row in rows})
