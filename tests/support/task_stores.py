"""Stores of answers on a test database, and tasks to put into them."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select, update

from app.accounts.api_key import Caller
from app.accounts.receipt import Receipt
from app.errors import DatabaseUnavailable
from app.model_catalog import MODELS
from app.native_thread import NativeThreads
from app.objects.file_objects import FileObjects
from app.objects.store import ObjectStore
from app.services.image_request import ImageRequest
from app.storage.answers_file import AnswersFile
from app.storage.database import Database
from app.storage.database_executor import DatabaseExecutor
from app.storage.engines import sqlite_file
from app.storage.group_commit import GroupCommit
from app.storage.postgresql_objects import PostgresqlObjects
from app.storage.task_executor import TaskExecutor
from app.storage.task_store import INLINE_BYTES, SqlTaskStore
from app.storage.task_tables import TASKS, WORKERS
from app.storage.times import now
from app.tasks.body import BytesBody
from app.tasks.call import Call
from app.tasks.supervisor import Supervisor
from app.tasks.task import Answer, Task
from app.tasks.task_maintenance import TaskMaintenance

CALLER, DIGEST = "a-caller", "d" * 64
SMALL = BytesBody(b'{"data": []}')
LARGE = BytesBody(b"0123456789abcdef" * (INLINE_BYTES // 16 + 1))
ANSWER, LARGE_ANSWER = Answer(200, SMALL, {"x-a": "b"}), Answer(200, LARGE, {})
REFUSAL = Answer(429, BytesBody(b'{"error": {}}'), {}, "rate_limit_exceeded")

MakeStore = Callable[..., SqlTaskStore]


def open_objects(database: Database, folder: Path) -> ObjectStore:
    if database.engine.dialect.name == "postgresql":
        return PostgresqlObjects(database)
    folder.mkdir(exist_ok=True)
    return FileObjects(folder, NativeThreads(0))


def open_task_store(database: Database, objects: ObjectStore, max_bytes: int = 2**30) -> SqlTaskStore:
    """The store that a gateway has on this database; on a file `answers.db`, that of one without a database."""
    executor = open_executor(database)
    return SqlTaskStore(executor, objects, keep_hours=24, max_bytes=max_bytes, max_task_seconds=3600)


def open_executor(database: Database) -> TaskExecutor:
    file = sqlite_file(database.engine)
    if file and file.name == "answers.db":
        return AnswersFile(file)
    return DatabaseExecutor(database, GroupCommit(database))


def new_task(key: str | None = None, *, age: float = 0, **fields: Any) -> Task:
    """A queued task that was created `age` seconds ago."""
    task = Task(uuid.uuid4().hex, CALLER, "generations", DIGEST, now() - timedelta(seconds=age), key)
    return replace(task, **fields)


def new_call(**fields: Any) -> Call:
    request = ImageRequest(model=next(iter(MODELS)), prompt="a prompt", n=1, response_format="url")
    return Call(Caller(CALLER), request, "generations", "a-request", Receipt(), **fields)


def new_attendant() -> str:
    return uuid.uuid4().hex


def content(store: SqlTaskStore, task: Task) -> bytes:
    return b"".join(store.body(task.id))


def stored(store: SqlTaskStore, task: Task) -> Task:
    """The task as the store has it."""
    found = store.find(task.caller, task.id)
    assert found is not None
    return found


def park(supervisor: Supervisor) -> None:
    """End the work of a supervisor whose test has ended: its threads never end."""
    supervisor._run_one = lambda _each: threading.Event().wait()  # type: ignore[assignment,method-assign]
    supervisor.maintenance.run = lambda: threading.Event().wait()  # type: ignore[assignment,method-assign]


def runs(maintenance: TaskMaintenance) -> bool:
    """One run, False while the store is unavailable."""
    try:
        maintenance.run()
    except DatabaseUnavailable:
        return False
    return True


def sweep_as_another(store: SqlTaskStore) -> None:
    """The sweep of another worker: a worker never takes itself for dead."""
    store._sweeper.sweep(uuid.uuid4().hex)


def expire(database: Database, task: Task) -> None:
    _change(database, update(TASKS).where(TASKS.c.id == task.id).values(expires_at=ago(1)))


def end_earlier(database: Database, task: Task, seconds: float) -> None:
    """The task ended `seconds` earlier than it did."""
    [expires_at] = _read(database, select(TASKS.c.expires_at).where(TASKS.c.id == task.id))
    _change(
        database, update(TASKS).where(TASKS.c.id == task.id).values(expires_at=expires_at - timedelta(seconds=seconds))
    )


def silence(database: Database, seconds: float = 9) -> None:
    """All tasks and connections are of a worker that has not beaten for `seconds`."""
    worker = uuid.uuid4().hex
    _change(database, insert(WORKERS).values(id=worker, seen_at=ago(seconds)))
    _change(database, update(TASKS).values(owner=worker))
    _change(database, update(TASKS).where(TASKS.c.attendant_worker.is_not(None)).values(attendant_worker=worker))


def body_names(database: Database) -> list[str]:
    return [name for name in _read(database, select(TASKS.c.body_name)) if name]


def ago(seconds: float) -> datetime:
    return now() - timedelta(seconds=seconds)


def _read(database: Database, query: Any) -> Sequence[Any]:
    with database.connection(read_only=True) as connection:
        return connection.scalars(query).all()


def _change(database: Database, statement: Any) -> None:
    with database.connection() as connection:
        connection.execute(statement)
