"""Tables of tasks: their answers, large bodies in PostgreSQL, and the workers that are alive."""

from __future__ import annotations

from datetime import datetime
from typing import cast

from sqlalchemy import BigInteger, Index, LargeBinary, String, Table, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.storage.tables import Base, UtcDateTime
from app.storage.times import now


class TaskRecord(Base):
    """One task: see `app.tasks.task.Task`.

    `owner` is the worker that makes the call. `attendant` is the connection that waits for the answer, and
    `attendant_worker` its worker; `joins` counts the connections that came after the first. `headers` is JSON. A body
    is in `body`, or, if it is large, an object named `body_name`; neither where it was removed to make room.
    """

    __tablename__ = "tasks"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    caller: Mapped[str] = mapped_column(String(12))
    operation: Mapped[str] = mapped_column(String(20))
    request_digest: Mapped[str] = mapped_column(String(64))
    idempotency_key: Mapped[str | None] = mapped_column(String(64))
    is_async: Mapped[bool]
    state: Mapped[str] = mapped_column(String(12))
    owner: Mapped[str] = mapped_column(String(32))
    attendant: Mapped[str | None] = mapped_column(String(32))
    attendant_worker: Mapped[str | None] = mapped_column(String(32))
    joins: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)
    http_status: Mapped[int | None]
    code: Mapped[str | None] = mapped_column(String(100))
    headers: Mapped[str | None] = mapped_column(Text)
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    body_name: Mapped[str | None] = mapped_column(String(80), index=True)
    body_size: Mapped[int] = mapped_column(BigInteger, default=0)

    __table_args__ = (
        UniqueConstraint("caller", "idempotency_key", name="uq_tasks_idempotency_key"),
        Index("ix_tasks_caller_time", "caller", "created_at"),
        Index("ix_tasks_state_owner", "state", "owner"),
        Index("ix_tasks_body_size", "body_size"),  # for their sum: SQLite would read the bodies
    )


class TaskWorker(Base):
    """A worker that has tasks, and when it was alive."""

    __tablename__ = "task_workers"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ObjectChunk(Base):
    """A part of a large body, in PostgreSQL only."""

    __tablename__ = "object_chunks"

    name: Mapped[str] = mapped_column(String(80), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    data: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)


TASKS = cast(Table, TaskRecord.__table__)
WORKERS = cast(Table, TaskWorker.__table__)
CHUNKS = cast(Table, ObjectChunk.__table__)
