"""Failover: this instance paces alone while Redis is unavailable."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from app.pacing.redis_store import RedisStore
from app.pacing.sqlite_store import SqliteStore
from app.pacing.store import Grant, KeyState, PacerStore, RestReason, StoreUnavailable, Ticket, Wait, WorkerForgotten

T = TypeVar("T")
RETRY_SECONDS = 3.0

log = logging.getLogger(__name__)


class FailoverStore:
    """Implements `PacerStore`: Redis, or the instance's own store for `RETRY_SECONDS` after Redis has failed.

    `take` raises `WorkerForgotten` after each change of store: the tickets wait in the other one.
    """

    def __init__(self, shared: RedisStore, own: SqliteStore, retry_seconds: float = RETRY_SECONDS) -> None:
        self._shared = shared
        self._own = own
        self._retry_seconds = retry_seconds
        self._failed_over_until = 0.0
        self._failed_over = False
        self._taken_from: PacerStore = shared
        self._lock = threading.Lock()

    def request(self, ticket: Ticket, max_waiting: int) -> Grant | Wait:
        return self._call(lambda store: store.request(ticket, max_waiting))

    def take(self, worker: str) -> tuple[Sequence[Grant], float | None]:
        return self._call(lambda store: self._take(store, worker))

    def leave(self, ticket_id: str) -> bool:
        return self._call(lambda store: store.leave(ticket_id))

    def give_back(self, grant: Grant) -> None:
        self._call(lambda store: store.give_back(grant))

    def stop_probe(self, grant: Grant) -> None:
        self._call(lambda store: store.stop_probe(grant))

    def rest(self, grant: Grant, reason: RestReason, code: str, seconds: float, longest: float) -> None:
        self._call(lambda store: store.rest(grant, reason, code, seconds, longest))

    def recover(self, grant: Grant) -> None:
        self._call(lambda store: store.recover(grant))

    def key_states(self) -> Sequence[KeyState]:
        return self._call(lambda store: store.key_states())

    def waiting(self) -> int:
        return self._call(lambda store: store.waiting())

    def close(self) -> None:
        self._shared.close()
        self._own.close()

    def _take(self, store: PacerStore, worker: str) -> tuple[Sequence[Grant], float | None]:
        try:
            grants, seconds = store.take(worker)
        except WorkerForgotten:
            self._taken_from = store
            raise
        if store is self._taken_from:
            return grants, seconds
        if grants:  # of tickets that had not left this store; the next step raises
            return grants, 0.0
        self._taken_from = store
        raise WorkerForgotten

    def _call(self, step: Callable[[PacerStore], T]) -> T:
        if time.monotonic() >= self._failed_over_until:
            try:
                result = step(self._shared)
            except StoreUnavailable:
                self._failed_over_until = time.monotonic() + self._retry_seconds
                self._note(failed_over=True)
            else:
                self._note(failed_over=False)
                return result
        return step(self._own)

    def _note(self, *, failed_over: bool) -> None:
        with self._lock:
            if self._failed_over == failed_over:
                return
            self._failed_over = failed_over
        if failed_over:
            log.warning("Redis unavailable: this instance paces its upstream keys alone")
        else:
            log.warning("Redis available again: the pace of upstream keys is shared")
