"""Task store: tasks and their answers in the database, or in a SQLite file in the state folder.

A large body is written first, under a name that is used once, and the row that names it after it. So a row never names
half a body. Bodies that no row names are removed by the sweep.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from app.errors import DatabaseUnavailable
from app.objects.store import ObjectMissing, ObjectStore, ObjectsUnavailable
from app.storage.database import Database
from app.storage.tables import Base, now
from app.storage.task_statements import claimable
from app.storage.task_sweeper import NOT_FOUND_AGAIN, TaskSweeper
from app.storage.task_tables import CHUNKS, TASKS, WORKERS
from app.storage.writer import Writer
from app.tasks.body import AnswerMissing, Body, BytesBody, StreamedBody
from app.tasks.task import RUNNING, Answer, Task

T = TypeVar("T")
INLINE_BYTES = 64 * 1024  # a larger body is an object
WAITERS_SECONDS = 60  # how long an answer that is not kept lasts for those who wait
TAKEN = "taken"  # the attendant of a task whose answer somebody has
MAX_IDS = 500  # in one query

_INSERT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


class SqlTaskStore:
    """Implements `app.tasks.task.TaskStore`."""

    def __init__(
        self,
        database: Database,
        objects: ObjectStore,
        writer: Writer,
        *,
        keep_hours: float,
        max_bytes: int,
        max_task_seconds: float,
    ) -> None:
        """Answers are kept for `keep_hours`, as long as they have `max_bytes` in all. `objects` holds large bodies.

        `max_task_seconds` is longer than any task runs.
        """
        self._database = database
        self._objects = objects
        self._writer = writer
        self._keep = timedelta(hours=keep_hours)
        self._insert = _INSERT[database.engine.dialect.name]
        self._sweeper = TaskSweeper(
            database, objects, writer, keep=self._keep, max_bytes=max_bytes, max_task_seconds=max_task_seconds
        )

    @property
    def worker(self) -> str:
        """The id of this process."""
        return _worker_id(os.getpid())

    def create_tables(self) -> None:
        """Create the tables in a SQLite file of the state folder, which has no migrations."""
        with self._database.connection() as connection:
            Base.metadata.create_all(connection, [TASKS, WORKERS, CHUNKS])

    def begin(self, task: Task, attendant: str | None) -> Task | None:
        add = self._insert(TASKS).on_conflict_do_nothing().returning(TASKS.c.id)
        same_key = TASKS.c.caller == task.caller, TASKS.c.idempotency_key == task.idempotency_key
        free = delete(TASKS).where(*same_key, TASKS.c.expires_at < now()).returning(TASKS.c.body_name)

        def begin(connection: Connection) -> tuple[bool, Task | None, Sequence[str | None]]:
            self._beat(connection)
            bodies = connection.scalars(free).all() if task.idempotency_key is not None else []
            if connection.execute(add, self._row(task, attendant)).first():
                return True, None, bodies
            found = connection.execute(select(TASKS).where(*same_key)).first()
            return False, _task(found) if found else None, bodies

        while True:
            added, existing, bodies = self._write(begin)
            self._sweeper.delete_objects([name for name in bodies if name])
            if added or existing is not None:  # neither: the other one was removed in this moment
                return existing

    def register(self, tasks: Sequence[tuple[Task, str | None]]) -> None:
        rows = [self._row(task, attendant) for task, attendant in tasks]

        def register(connection: Connection) -> None:
            self._beat(connection)
            connection.execute(self._insert(TASKS).on_conflict_do_nothing(), rows)

        self._write(register)

    def start(self, task_id: str) -> bool:
        return self._update({"state": "in_progress"}, TASKS.c.id == task_id, TASKS.c.state == "queued")

    def finish(self, task: Task, answer: Answer, *, keep: bool) -> None:
        if not keep and not task.is_async and self.discard(task.id):
            return
        values = self._answer_values(task, answer)
        values["expires_at"] = now() + (self._keep if keep or task.is_async else timedelta(seconds=WAITERS_SECONDS))
        if not keep:
            values |= NOT_FOUND_AGAIN
        row = self._row(task, None) | values
        self._write(
            lambda connection: connection.execute(
                self._insert(TASKS).values(row).on_conflict_do_update(index_elements=[TASKS.c.id], set_=values)
            )
        )

    def claim(self, caller: str, request_digest: str, retry_count: int, attendant: str) -> Task | None:
        chosen = claimable(caller, request_digest, retry_count, now())
        # Most retries have nothing to join: a read does not wait for the writer.
        if not self._first(chosen):
            return None
        chosen = chosen.with_for_update(skip_locked=True)
        return self._attend(TASKS.c.id == chosen.scalar_subquery(), attendant)

    def attend(self, task_id: str, attendant: str) -> Task | None:
        return self._attend(TASKS.c.id == task_id, attendant)

    def leave(self, task_id: str, attendant: str) -> None:
        gone = {"attendant": None, "attendant_worker": None}
        self._update(gone, TASKS.c.id == task_id, TASKS.c.attendant == attendant)

    def withdraw(self, task_id: str) -> bool:
        return self._delete(TASKS.c.id == task_id, TASKS.c.attendant.is_(None), TASKS.c.state == "queued")

    def discard(self, task_id: str) -> bool:
        return self._delete(TASKS.c.id == task_id, TASKS.c.joins == 0)

    def take(self, task_id: str, attendant: str) -> None:
        taken = {"attendant": TAKEN, "attendant_worker": None}
        self._update(taken, TASKS.c.id == task_id, TASKS.c.attendant == attendant)

    def find(self, caller: str, task_id: str) -> Task | None:
        row = self._first(select(TASKS).where(TASKS.c.id == task_id, TASKS.c.caller == caller, _is_current()))
        return _task(row) if row else None

    def newest(self, caller: str, limit: int) -> Sequence[Task]:
        query = select(TASKS).where(TASKS.c.caller == caller, _is_current())
        query = query.order_by(TASKS.c.created_at.desc(), TASKS.c.id).limit(limit)
        return [_task(row) for row in self._all(query)]

    def ended(self, task_ids: Sequence[str]) -> Sequence[str]:
        running: set[str] = set()
        for start in range(0, len(task_ids), MAX_IDS):
            ids = task_ids[start : start + MAX_IDS]
            query = select(TASKS.c.id).where(TASKS.c.id.in_(ids), TASKS.c.state.in_(RUNNING))
            running |= {row.id for row in self._all(query)}
        return [task_id for task_id in task_ids if task_id not in running]

    def body(self, task_id: str) -> Body:
        row = self._first(select(TASKS.c.body, TASKS.c.body_name, TASKS.c.body_size).where(TASKS.c.id == task_id))
        if row is None or not row.body_size:
            raise AnswerMissing(task_id)
        if row.body_name is None:
            return BytesBody(row.body)
        try:
            return StreamedBody(self._objects.read(row.body_name), row.body_size)
        except ObjectMissing as error:
            raise AnswerMissing(task_id) from error
        except ObjectsUnavailable as error:
            raise DatabaseUnavailable from error

    def beat(self) -> None:
        self._write(self._beat)

    def sweep(self) -> None:
        self._sweeper.sweep(self.worker)

    def _beat(self, connection: Connection) -> None:
        seen = self._insert(WORKERS).values(id=self.worker, seen_at=now())
        connection.execute(seen.on_conflict_do_update(index_elements=[WORKERS.c.id], set_={"seen_at": now()}))

    def _row(self, task: Task, attendant: str | None) -> dict[str, Any]:
        worker = self.worker if attendant else None
        values = asdict(task) | {"headers": None}
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

    def _attend(self, condition: Any, attendant: str) -> Task | None:
        values = {"attendant": attendant, "attendant_worker": self.worker, "joins": TASKS.c.joins + 1}
        statement = update(TASKS).where(condition).values(**values).returning(*TASKS.c)

        def attend(connection: Connection) -> Row[Any] | None:
            self._beat(connection)
            return connection.execute(statement).first()

        row = self._write(attend)
        return _task(row) if row else None

    def _update(self, values: dict[str, Any], *conditions: Any) -> bool:
        statement = update(TASKS).where(*conditions).values(**values).returning(TASKS.c.id)
        return self._write(lambda connection: connection.execute(statement).first()) is not None

    def _delete(self, *conditions: Any) -> bool:
        statement = delete(TASKS).where(*conditions).returning(TASKS.c.body_name)
        rows = self._write(lambda connection: connection.execute(statement).all())
        self._sweeper.delete_objects([row.body_name for row in rows if row.body_name])
        return bool(rows)

    def _write(self, statements: Callable[[Connection], T]) -> T:
        return self._writer.write(statements)

    def _read(self, query: Callable[[Connection], T]) -> T:
        def read() -> T:
            with self._database.connection(read_only=True) as connection:
                return query(connection)

        return self._database.reader_threads.call(read)

    def _all(self, query: Any) -> Sequence[Row[Any]]:
        return self._read(lambda connection: connection.execute(query).all())

    def _first(self, query: Any) -> Row[Any] | None:
        return self._read(lambda connection: connection.execute(query).first())


@cache
def _worker_id(_pid: int) -> str:
    """A new id in each process: the store is created before the workers are forked."""
    return secrets.token_hex(16)


def _is_current() -> Any:
    return TASKS.c.expires_at.is_(None) | (TASKS.c.expires_at > now())


def _task(row: Row[Any]) -> Task:
    return Task(
        id=row.id,
        caller=row.caller,
        operation=row.operation,
        request_digest=row.request_digest,
        created_at=row.created_at,
        idempotency_key=row.idempotency_key,
        is_async=row.is_async,
        state=row.state,
        http_status=row.http_status,
        code=row.code,
        headers=json.loads(row.headers) if row.headers else None,
    )
