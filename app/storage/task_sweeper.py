"""Sweep of tasks: fails those of dead workers, removes what has expired, and keeps the bodies within their bytes."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from sqlalchemy import Connection, delete, select, update

from app import metrics
from app.errors import DatabaseUnavailable, GatewayError, OutcomeUnknown, TaskWithdrawn
from app.objects.store import ObjectStore, ObjectsUnavailable
from app.storage.database import Database
from app.storage.tables import now
from app.storage.task_statements import expired, fail_dead, oldest_bodies, total_bytes
from app.storage.task_tables import TASKS, WORKERS
from app.storage.writer import Writer
from app.tasks.task import BodyTooLarge

log = logging.getLogger(__name__)

BATCH_SIZE = 1000  # rows removed in one transaction
ORPHAN_SECONDS = 3600  # age of a body that no row names; no write takes so long
WORKER_HOURS = 24
# Values of a task whose answer only those who wait take: no key leads to it, and no retry joins it.
NOT_FOUND_AGAIN = {"idempotency_key": None, "request_digest": ""}


class TaskSweeper:
    """Every worker runs it. Several may run at once: each step takes effect once."""

    def __init__(
        self,
        database: Database,
        objects: ObjectStore,
        writer: Writer,
        *,
        keep: timedelta,
        max_bytes: int,
        max_task_seconds: float,
    ) -> None:
        self._database = database
        self._objects = objects
        self._writer = writer
        self._keep = keep
        self._max_bytes = max_bytes
        self._max_task_seconds = max_task_seconds
        self._orphans_at = time.monotonic() + ORPHAN_SECONDS

    def sweep(self, worker: str) -> None:
        """`worker` is the id of the one that sweeps. Raises `DatabaseUnavailable`."""
        failed = self._writer.write(partial(self._fail_dead, worker))
        if failed:
            log.warning("Failed %d tasks of dead workers", failed)
        names = self._writer.write(self._remove_expired)
        self.delete_objects(names)
        self.make_room(0)
        if time.monotonic() > self._orphans_at:
            self._orphans_at = time.monotonic() + ORPHAN_SECONDS
            self.remove_orphans()

    def make_room(self, size: int) -> None:
        """Remove the oldest bodies until `size` more bytes fit. Raises `BodyTooLarge`."""
        if size > self._max_bytes:
            raise BodyTooLarge(f"{size} bytes")
        total = self._read(total_bytes())[0][0]
        metrics.ANSWER_BYTES.set(total)
        while total + size > self._max_bytes and (rows := self._read(oldest_bodies(100))):
            chosen = []
            for row in rows:
                if total + size <= self._max_bytes:
                    break
                chosen.append(row.id)
                total -= row.body_size
            self.delete_objects(self._writer.write(partial(_forget_bodies, chosen)))

    def delete_objects(self, names: Sequence[str]) -> None:
        for name in names:
            try:
                self._objects.delete(name)
            except (ObjectsUnavailable, DatabaseUnavailable, ValueError):  # the next removal of orphans finds it
                log.warning("Body of an answer not removed")

    def _fail_dead(self, worker: str, connection: Connection) -> int:
        keep = now() + self._keep
        # Nothing of these was sent, so their idempotency keys are free again, and a retry is a new call.
        not_sent = _values(TaskWithdrawn()) | NOT_FOUND_AGAIN | {"expires_at": keep}
        sent = _values(OutcomeUnknown()) | {"expires_at": keep}
        return sum(
            connection.execute(fail_dead(state, worker, now(), self._max_task_seconds, values)).rowcount
            for state, values in (("queued", not_sent), ("in_progress", sent))
        )

    @staticmethod
    def _remove_expired(connection: Connection) -> list[str]:
        connection.execute(delete(WORKERS).where(WORKERS.c.seen_at < now() - timedelta(hours=WORKER_HOURS)))
        removed = delete(TASKS).where(TASKS.c.id.in_(expired(now(), BATCH_SIZE))).returning(TASKS.c.body_name)
        return [name for name in connection.scalars(removed).all() if name]

    def remove_orphans(self, seconds: float = ORPHAN_SECONDS) -> None:
        """Remove the bodies older than `seconds` that no row names: their writers were killed."""
        for name in self._objects.names_older_than(seconds):
            if not self._read(select(TASKS.c.id).where(TASKS.c.body_name == name)):
                self.delete_objects([name])

    def _read(self, query: Any) -> Sequence[Any]:
        def read() -> Sequence[Any]:
            with self._database.connection(read_only=True) as connection:
                return connection.execute(query).all()

        return self._database.reader_threads.call(read)


def _forget_bodies(ids: Sequence[str], connection: Connection) -> list[str]:
    """Remove the bodies of these answers; the rows stay, so that an idempotency key is not used a second time."""
    names = connection.scalars(select(TASKS.c.body_name).where(TASKS.c.id.in_(ids))).all()
    connection.execute(update(TASKS).where(TASKS.c.id.in_(ids)).values(body=None, body_name=None, body_size=0))
    return [name for name in names if name]


def _values(error: GatewayError) -> dict[str, Any]:
    body = json.dumps(error.envelope()).encode()
    headers = json.dumps(error.headers())
    values = {"http_status": error.http_status, "code": error.code, "headers": headers}
    return values | {"body": body, "body_name": None, "body_size": len(body)}
