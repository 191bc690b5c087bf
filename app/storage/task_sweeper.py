"""Sweep of tasks: fails those of dead workers, removes what has expired, and keeps the bodies within their bytes."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from app import metrics
from app.errors import DatabaseUnavailable, GatewayError, OutcomeUnknown, TaskWithdrawn
from app.objects.store import ObjectStore, ObjectsUnavailable
from app.storage import task_statements as sql
from app.storage.task_executor import Run, TaskExecutor
from app.storage.times import now
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
        executor: TaskExecutor,
        objects: ObjectStore,
        *,
        keep: timedelta,
        max_bytes: int,
        max_task_seconds: float,
    ) -> None:
        self._executor = executor
        self._objects = objects
        self._keep = keep
        self._max_bytes = max_bytes
        self._max_task_seconds = max_task_seconds
        self._orphans_at = time.monotonic() + ORPHAN_SECONDS

    def sweep(self, worker: str) -> None:
        """`worker` is the id of the one that sweeps. Raises `DatabaseUnavailable`."""
        [found] = self._executor.read(
            sql.LOOK, self._lost(worker) | {"now": now(), "workers_before": _workers_before()}
        )
        if found["lost"] and (failed := self._executor.write(partial(self._fail_lost, worker))):
            log.warning("Failed %d tasks of dead workers", failed)
        if found["expired"] or found["workers"]:
            self.delete_objects(self._executor.write(self._remove_expired))
        self._keep_within(int(found["total"]), 0)
        if time.monotonic() > self._orphans_at:
            self._orphans_at = time.monotonic() + ORPHAN_SECONDS
            self.remove_orphans()

    def make_room(self, size: int) -> None:
        """Remove the oldest bodies until `size` more bytes fit. Raises `BodyTooLarge`."""
        if size > self._max_bytes:
            raise BodyTooLarge(f"{size} bytes")
        [row] = self._executor.read(sql.TOTAL_BYTES, {})
        self._keep_within(int(row["total"]), size)

    def _keep_within(self, total: int, size: int) -> None:
        """`total` is the bytes of all bodies, `size` those to come."""
        metrics.ANSWER_BYTES.set(total)
        while total + size > self._max_bytes and (rows := self._executor.read(sql.OLDEST_BODIES, {"limit": 100})):
            chosen = []
            for row in rows:
                if total + size <= self._max_bytes:
                    break
                chosen.append(row["id"])
                total -= row["body_size"]
            self.delete_objects(self._executor.write(partial(_forget_bodies, chosen)))

    def delete_objects(self, names: Sequence[str]) -> None:
        for name in names:
            try:
                self._objects.delete(name)
            except (ObjectsUnavailable, DatabaseUnavailable, ValueError):  # the next removal of orphans finds it
                log.warning("Body of an answer not removed")

    def _lost(self, worker: str) -> dict[str, Any]:
        """Parameters that tell which tasks are lost."""
        return {
            "worker": worker,
            "alive_since": now() - timedelta(seconds=sql.DEAD_SECONDS),
            "lost_before": now() - timedelta(seconds=self._max_task_seconds),
        }

    def _fail_lost(self, worker: str, run: Run) -> int:
        keep = now() + self._keep
        # Nothing of these was sent, so their idempotency keys are free again, and a retry is a new call.
        not_sent = _values(TaskWithdrawn()) | NOT_FOUND_AGAIN | {"expires_at": keep}
        sent = _values(OutcomeUnknown()) | {"expires_at": keep}
        return sum(
            len(run(sql.fail_lost(tuple(values)), values | self._lost(worker) | {"state": state}))
            for state, values in (("queued", not_sent), ("in_progress", sent))
        )

    def _remove_expired(self, run: Run) -> list[str]:
        run(sql.REMOVE_WORKERS, {"workers_before": _workers_before()})
        removed = run(sql.remove_expired(self._executor.skip_locked), {"now": now(), "limit": BATCH_SIZE})
        return [row["body_name"] for row in removed if row["body_name"]]

    def remove_orphans(self, seconds: float = ORPHAN_SECONDS) -> None:
        """Remove the bodies older than `seconds` that no row names: their writers were killed."""
        for name in self._objects.names_older_than(seconds):
            if not self._executor.read(sql.OF_BODY, {"name": name}):
                self.delete_objects([name])


def _workers_before() -> datetime:
    return now() - timedelta(hours=WORKER_HOURS)


def _forget_bodies(ids: Sequence[str], run: Run) -> list[str]:
    """Remove the bodies of these answers; the rows stay, so that an idempotency key is not used a second time."""
    listed, values = sql.id_list(ids)
    names = [row["body_name"] for row in run(sql.body_names(listed), values)]
    run(sql.forget_bodies(listed), values)
    return [name for name in names if name]


def _values(error: GatewayError) -> dict[str, Any]:
    body = json.dumps(error.envelope()).encode()
    headers = json.dumps(error.headers())
    values = {"http_status": error.http_status, "code": error.code, "headers": headers}
    return values | {"body": body, "body_name": None, "body_size": len(body)}
