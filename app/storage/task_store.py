"""Task store: tasks and their answers in the database, or in a SQLite file in the state folder.

A large body is written first, under a name that is used once, and the row that names it after it. So a row never names
half a body. Bodies that no row names are removed by the sweep.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from functools import cache
from typing import Any

from app.errors import DatabaseUnavailable
from app.objects.store import ObjectMissing, ObjectStore, ObjectsUnavailable
from app.storage import task_statements as sql
from app.storage.task_executor import Row, Run, TaskExecutor
from app.storage.task_sweeper import NOT_FOUND_AGAIN, TaskSweeper
from app.storage.times import from_row, now
from app.tasks.body import AnswerMissing, Body, BytesBody, StreamedBody
from app.tasks.task import JOIN_SECONDS, Answer, Task

INLINE_BYTES = 64 * 1024  # a larger body is an object
WAITERS_SECONDS = 60  # how long an answer that is not kept lasts for those who wait
# How long after its end an answer that a retry seems to have taken may be joined once more. Between two tries the SDKs
# wait for up to 8 s.
REJOIN_SECONDS = 15
TAKEN = "taken"  # the attendant of a task whose answer somebody has
MAX_IDS = 500  # in one query
# Columns of a task that is added.
_NEW = {"joins": 0, "expires_at": None, "headers": None, "body": None, "body_name": None, "body_size": 0}


class SqlTaskStore:
    """Implements `app.tasks.task.TaskStore`."""

    def __init__(
        self,
        executor: TaskExecutor,
        objects: ObjectStore,
        *,
        keep_hours: float,
        max_bytes: int,
        max_task_seconds: float,
    ) -> None:
        """Answers are kept for `keep_hours`, as long as they have `max_bytes` in all. `objects` holds large bodies.

        `max_task_seconds` is longer than any task runs.
        """
        self._executor = executor
        self._objects = objects
        self._keep = timedelta(hours=keep_hours)
        self._sweeper = TaskSweeper(
            executor, objects, keep=self._keep, max_bytes=max_bytes, max_task_seconds=max_task_seconds
        )

    @property
    def worker(self) -> str:
        """The id of this process."""
        return _worker_id(os.getpid())

    def begin(self, task: Task, attendant: str | None) -> Task | None:
        same_key = {"caller": task.caller, "idempotency_key": task.idempotency_key}

        def begin(run: Run) -> tuple[bool, Task | None, Sequence[Row]]:
            self._beat(run)
            freed = run(sql.FREE_KEY, same_key | {"now": now()}) if task.idempotency_key is not None else ()
            if run(sql.ADD, self._row(task, attendant)):
                return True, None, freed
            found = run(sql.OF_KEY, same_key)
            return False, _task(found[0]) if found else None, freed

        while True:
            added, existing, freed = self._executor.write(begin)
            self._delete_bodies(freed)
            if added or existing is not None:  # neither: the other one was removed in this moment
                return existing

    def register(self, tasks: Sequence[tuple[Task, str | None]]) -> None:
        rows = [self._row(task, attendant) for task, attendant in tasks]

        def register(run: Run) -> None:
            self._beat(run)
            for row in rows:
                run(sql.ADD, row)

        self._executor.write(register)

    def start(self, task_id: str) -> bool:
        return bool(self._write(sql.START, {"id": task_id}))

    def finish(self, task: Task, answer: Answer, *, keep: bool) -> None:
        if not keep and not task.is_async and self.discard(task.id):
            return
        values = self._answer_values(task, answer)
        values["expires_at"] = now() + (self._keep if keep or task.is_async else timedelta(seconds=WAITERS_SECONDS))
        if keep:
            self._write(sql.finish(tuple(values)), self._row(task, None) | values)
        else:  # a task that is gone was withdrawn, or was never added: nobody waits for it
            values |= NOT_FOUND_AGAIN
            self._write(sql.answer(tuple(values)), {"id": task.id} | values)

    def claim(self, caller: str, request_digest: str, retry_count: int, attendant: str) -> Task | None:
        values = {
            "caller": caller,
            "request_digest": request_digest,
            "retry_count": retry_count,
            "joinable_since": now() - timedelta(seconds=JOIN_SECONDS),
            "alive_since": now() - timedelta(seconds=sql.DEAD_SECONDS),
            "rejoinable_until": now() + self._keep - timedelta(seconds=REJOIN_SECONDS),
            "now": now(),
        }
        # Most retries have nothing to join: a read does not wait for the writer.
        if not self._executor.read(sql.CLAIMABLE, values):
            return None
        return self._attend(f"id = ({sql.CLAIMABLE} {self._executor.skip_locked})", values, attendant)

    def attend(self, task_id: str, attendant: str) -> Task | None:
        return self._attend("id = :id", {"id": task_id}, attendant)

    def leave(self, task_id: str, attendant: str) -> None:
        self._write(sql.LEAVE, {"id": task_id, "attendant": attendant})

    def withdraw(self, task_id: str) -> bool:
        return self._delete(sql.WITHDRAW, task_id)

    def discard(self, task_id: str) -> bool:
        return self._delete(sql.DISCARD, task_id)

    def take(self, task_id: str, attendant: str) -> None:
        self._write(sql.TAKE, {"id": task_id, "attendant": attendant, "taken": TAKEN})

    def find(self, caller: str, task_id: str) -> Task | None:
        rows = self._executor.read(sql.FIND, {"id": task_id, "caller": caller, "now": now()})
        return _task(rows[0]) if rows else None

    def newest(self, caller: str, limit: int) -> Sequence[Task]:
        rows = self._executor.read(sql.NEWEST, {"caller": caller, "now": now(), "limit": limit})
        return [_task(row) for row in rows]

    def ended(self, task_ids: Sequence[str]) -> Sequence[str]:
        running: set[str] = set()
        for start in range(0, len(task_ids), MAX_IDS):
            ids, values = sql.id_list(task_ids[start : start + MAX_IDS])
            running |= {row["id"] for row in self._executor.read(sql.running(ids), values)}
        return [task_id for task_id in task_ids if task_id not in running]

    def body(self, task_id: str) -> Body:
        rows = self._executor.read(sql.BODY, {"id": task_id})
        if not rows or not rows[0]["body_size"]:
            raise AnswerMissing(task_id)
        row = rows[0]
        if row["body_name"] is None:
            return BytesBody(row["body"])
        try:
            return StreamedBody(self._objects.read(row["body_name"]), row["body_size"])
        except ObjectMissing as error:
            raise AnswerMissing(task_id) from error
        except ObjectsUnavailable as error:
            raise DatabaseUnavailable from error

    def beat(self) -> None:
        self._executor.write(self._beat)

    def sweep(self) -> None:
        self._sweeper.sweep(self.worker)

    def _beat(self, run: Run) -> None:
        run(sql.BEAT, {"worker": self.worker, "now": now()})

    def _row(self, task: Task, attendant: str | None) -> dict[str, Any]:
        worker = self.worker if attendant else None
        values = asdict(task) | _NEW
        return values | {"owner": self.worker, "attendant": attendant, "attendant_worker": worker}

    def _answer_values(self, task: Task, answer: Answer) -> dict[str, Any]:
        values: dict[str, Any] = {
            "state": "completed" if answer.http_status == 200 else "failed",
            "http_status": answer.http_status,
            "code": answer.code,
            "headers": json.dumps(dict(answer.headers)),
            "body": None,
            "body_name": None,
            "body_size": len(answer.body),
        }
        if len(answer.body) <= INLINE_BYTES:
            return values | {"body": b"".join(answer.body)}
        self._sweeper.make_room(len(answer.body))
        name = f"{task.id}-{secrets.token_hex(8)}"
        self._objects.write(name, answer.body, len(answer.body))
        return values | {"body_name": name}

    def _attend(self, condition: str, values: Mapping[str, Any], attendant: str) -> Task | None:
        values = {**values, "attendant": attendant, "worker": self.worker}

        def attend(run: Run) -> Sequence[Row]:
            self._beat(run)
            return run(sql.attend(condition), values)

        rows = self._executor.write(attend)
        return _task(rows[0]) if rows else None

    def _delete(self, statement: str, task_id: str) -> bool:
        rows = self._write(statement, {"id": task_id})
        self._delete_bodies(rows)
        return bool(rows)

    def _delete_bodies(self, rows: Sequence[Row]) -> None:
        self._sweeper.delete_objects([row["body_name"] for row in rows if row["body_name"]])

    def _write(self, statement: str, values: Mapping[str, Any]) -> Sequence[Row]:
        return self._executor.write(lambda run: run(statement, values))


@cache
def _worker_id(_pid: int) -> str:
    """A new id in each process: the store is created before the workers are forked."""
    return secrets.token_hex(16)


def _task(row: Row) -> Task:
    return Task(
        id=row["id"],
        caller=row["caller"],
        operation=row["operation"],
        request_digest=row["request_digest"],
        created_at=from_row(row["created_at"]),
        idempotency_key=row["idempotency_key"],
        is_async=bool(row["is_async"]),
        state=row["state"],
        http_status=row["http_status"],
        code=row["code"],
        headers=json.loads(row["headers"]) if row["headers"] else None,
    )
