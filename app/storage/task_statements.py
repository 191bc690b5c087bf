"""SQL of the task store: which tasks may be claimed, which have died, which have expired."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, Update, and_, case, func, or_, select, update

from app.storage.task_tables import TASKS, WORKERS
from app.tasks.task import JOIN_SECONDS, RUNNING

DEAD_SECONDS = 8  # after which a worker that does not beat is taken for dead


def is_alive(worker: ColumnElement[Any], now: datetime) -> ColumnElement[bool]:
    """Whether the worker named by a column has beaten of late."""
    return worker.in_(select(WORKERS.c.id).where(WORKERS.c.seen_at > now - timedelta(seconds=DEAD_SECONDS)))


def claimable(caller: str, request_digest: str, retry_count: int, now: datetime) -> Select[str]:
    """The id of the task that a retry takes: the newest whose caller is gone, else the newest not joined so often.

    A caller that is gone is preferred, so that a retry does not take the call of another one that still waits. A router
    that has given up may keep its connection to the gateway open: then a call seems to be attended, and a call that a
    retry has joined may seem to be taken. The next retry of the same caller joins it all the same.
    """
    is_left = or_(TASKS.c.attendant.is_(None), ~is_alive(TASKS.c.attendant_worker, now))
    is_joinable = or_(TASKS.c.state.in_(RUNNING), TASKS.c.joins > 0)
    may_be_taken = or_(is_left, and_(TASKS.c.joins < retry_count, is_joinable))
    return (
        select(TASKS.c.id)
        .where(
            TASKS.c.caller == caller,
            TASKS.c.request_digest == request_digest,
            TASKS.c.idempotency_key.is_(None),
            TASKS.c.is_async.is_(False),
            TASKS.c.created_at > now - timedelta(seconds=JOIN_SECONDS),
            or_(TASKS.c.expires_at.is_(None), TASKS.c.expires_at > now),
            may_be_taken,
        )
        .order_by(case((is_left, 0), else_=1), TASKS.c.created_at.desc())
        .limit(1)
    )


def fail_dead(state: str, worker: str, now: datetime, max_seconds: float, values: dict[str, Any]) -> Update:
    """Give the tasks in `state` the answer `values` if their worker is dead, or if they have run for `max_seconds`.

    `worker` is the one that asks: it is alive, even if its beat was late. A task runs for too long if its answer could
    not be written while its worker lived.
    """
    is_dead = and_(TASKS.c.owner != worker, ~is_alive(TASKS.c.owner, now))
    is_lost = or_(is_dead, TASKS.c.created_at < now - timedelta(seconds=max_seconds))
    return update(TASKS).where(TASKS.c.state == state, is_lost).values(state="failed", **values)


def expired(now: datetime, limit: int) -> Select[str]:
    return (
        select(TASKS.c.id)
        .where(TASKS.c.expires_at < now, TASKS.c.state.not_in(RUNNING))
        .limit(limit)
        .with_for_update(skip_locked=True)
    )


def total_bytes() -> Select[int]:
    return select(func.coalesce(func.sum(TASKS.c.body_size), 0))


def oldest_bodies(limit: int) -> Select[Any]:
    """Ids and sizes of the answers to remove first."""
    return (
        select(TASKS.c.id, TASKS.c.body_size)
        .where(TASKS.c.body_size > 0, TASKS.c.state.not_in(RUNNING))
        .order_by(TASKS.c.created_at)
        .limit(limit)
    )
