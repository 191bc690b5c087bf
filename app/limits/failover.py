"""Owns what happens when Redis is gone: this process counts alone until Redis is back."""

from __future__ import annotations

import logging
import threading

from app import metrics
from app.limits.memory_store import MemoryStore
from app.limits.redis_store import RedisStore, RedisUnavailable
from app.limits.store import LimitDecision, LimitRequest

RETRY_SECONDS = 3.0  # longer than any caller can be stuck, so that nobody's late failure comes after the return
MAX_REDIS_CONNECTIONS = 64  # how many ask Redis at once, and so how many connections a process has

log = logging.getLogger(__name__)


class FailoverStore:
    """While Redis is gone no caller waits for it: a thread looks, and nobody sees more than one timeout.

    Whoever has waited for a place looks again before asking, so a crowd waits once for a hanging Redis, not in turns.
    `owed` are calls that ended, or whose fate in Redis is unknown, while it could not be responses.
    """

    def __init__(self, shared: RedisStore, own: MemoryStore, retry_seconds: float = RETRY_SECONDS) -> None:
        self._shared = shared
        self._own = own
        self._retry_seconds = retry_seconds
        self._lock = threading.Lock()
        self._places = threading.Semaphore(MAX_REDIS_CONNECTIONS)
        self._away = False
        self._owed: list[LimitRequest] = []
        self._closed = threading.Event()
        self._looking: threading.Thread | None = None

    def acquire(self, call: LimitRequest) -> LimitDecision:
        with self._places:
            if not self._away:
                try:
                    return self._shared.acquire(call)
                except RedisUnavailable as error:
                    self._lose(call, error)
        return self._own.acquire(call)

    def release(self, call: LimitRequest) -> None:
        if self._own.holds(call):
            self._own.release(call)
            return
        with self._places:
            if not self._owe_while_away(call):
                try:
                    self._shared.release(call)
                except RedisUnavailable as error:
                    self._lose(call, error)

    def close(self) -> None:
        self._closed.set()
        if self._looking is not None:
            self._looking.join()
        self._shared.close()

    def _owe_while_away(self, call: LimitRequest) -> bool:
        with self._lock:
            if self._away:
                self._owed.append(call)
            return self._away

    def _lose(self, call: LimitRequest, error: Exception) -> None:
        with self._lock:
            self._owed.append(call)
            if self._away:
                return
            looking = threading.Thread(target=self._look_for_it, name="amux-limits", daemon=True)
            try:
                looking.start()
            except RuntimeError:  # no thread left: with nobody to look, the next one asks Redis again
                return
            self._looking = looking
            self._away = True
            metrics.LIMITS_DEGRADED.set(1)
            log.warning("Redis is gone (%s): this process counts its limits alone.", type(error).__name__)

    def _look_for_it(self) -> None:
        while not self._closed.wait(self._retry_seconds):
            try:
                self._shared.probe()
                self._pay()
            except RedisUnavailable:
                continue
            if self._return():
                return

    def _pay(self) -> None:
        while self._owed:
            self._shared.release(self._owed[0])
            self._owed.pop(0)  # only this thread takes any away

    def _return(self) -> bool:
        with self._lock:
            if self._owed:
                return False
            self._away = False
            metrics.LIMITS_DEGRADED.set(0)
            log.warning("Redis is back: limits are counted together again.")
        return True
