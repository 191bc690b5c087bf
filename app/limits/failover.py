"""Failover: counts in process while Redis is unavailable."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from app import metrics
from app.limits.memory_store import MemoryStore
from app.limits.redis_store import RedisStore, RedisUnavailable
from app.limits.store import LimitDecision, LimitRequest, LimitState

RETRY_SECONDS = 3.0  # longer than a call waits for Redis, so that no earlier failure surfaces after the recovery
MAX_REDIS_CONNECTIONS = 64  # of one process

Reply = TypeVar("Reply", LimitDecision, LimitState)

log = logging.getLogger(__name__)


class FailoverStore:
    """Implements `RateLimitStore` by Redis, and by `local` while Redis is unavailable.

    The first failure starts a thread that probes Redis until it is available again, so that other calls do not wait
    for it. A call that had to wait for a connection checks for a failover before it uses Redis: many calls at once
    wait for one timeout of a Redis that hangs, not for one timeout after the other.

    A call may end while Redis is unavailable, or a failure may leave unknown whether Redis has counted it. Such calls
    are pending releases, and are released in Redis before it is used again.
    """

    def __init__(self, shared: RedisStore, local: MemoryStore, retry_seconds: float = RETRY_SECONDS) -> None:
        self._shared = shared
        self._local = local
        self._retry_seconds = retry_seconds
        self._lock = threading.Lock()
        self._connections = threading.Semaphore(MAX_REDIS_CONNECTIONS)
        self._failed_over = False
        self._pending_releases: list[LimitRequest] = []
        self._closed = threading.Event()
        self._probe_thread: threading.Thread | None = None

    def acquire(self, call: LimitRequest) -> LimitDecision:
        """Never raises: without Redis, the call is counted in this process."""
        return self._in_redis(self._shared.acquire, call) or self._local.acquire(call)

    def read(self, call: LimitRequest) -> LimitState:
        """Never raises: without Redis, what is counted in this process."""
        return self._in_redis(self._shared.read, call) or self._local.read(call)

    def release(self, call: LimitRequest) -> None:
        """Never raises: without Redis, the call is released once Redis is available again."""
        if self._local.holds(call):
            self._local.release(call)
            return
        with self._connections:
            if not self._postpone_release(call):
                try:
                    self._shared.release(call)
                except RedisUnavailable as error:
                    self._fail_over(call, error)

    def close(self) -> None:
        self._closed.set()
        if self._probe_thread is not None:
            self._probe_thread.join()
        self._shared.close()

    def _in_redis(self, ask: Callable[[LimitRequest], Reply], call: LimitRequest) -> Reply | None:
        """The reply of Redis, None while it is unavailable."""
        with self._connections:
            if not self._failed_over:
                try:
                    return ask(call)
                except RedisUnavailable as error:
                    self._fail_over(call, error)
        return None

    def _postpone_release(self, call: LimitRequest) -> bool:
        """Whether Redis is unavailable; then the release is pending."""
        with self._lock:
            if self._failed_over:
                self._pending_releases.append(call)
            return self._failed_over

    def _fail_over(self, call: LimitRequest, error: Exception) -> None:
        with self._lock:
            self._pending_releases.append(call)
            if self._failed_over:
                return
            thread = threading.Thread(target=self._probe_until_recovered, name="amux-limits", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no thread can be started: without a probe, the next call must try Redis itself
                return
            self._probe_thread = thread
            self._failed_over = True
            metrics.LIMITS_DEGRADED.set(1)
            log.warning("Redis unavailable (%s): falling back to in-process rate limits", type(error).__name__)

    def _probe_until_recovered(self) -> None:
        while not self._closed.wait(self._retry_seconds):
            try:
                self._shared.probe()
                self._flush_pending_releases()
            except RedisUnavailable:
                continue
            if self._recover():
                return

    def _flush_pending_releases(self) -> None:
        while self._pending_releases:
            self._shared.release(self._pending_releases[0])
            self._pending_releases.pop(0)  # only the probe thread removes any

    def _recover(self) -> bool:
        """Use Redis again, unless a release has become pending meanwhile."""
        with self._lock:
            if self._pending_releases:
                return False
            self._failed_over = False
            metrics.LIMITS_DEGRADED.set(0)
            log.warning("Redis available again: rate limits are shared")
        return True
