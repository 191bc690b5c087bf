"""Owns the counters of one process, in its memory."""

from __future__ import annotations

import threading
import time

from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from app.limits.store import WINDOW_SECONDS, LimitDecision, LimitRequest, RateLimit, WindowStats


class MemoryStore:
    """`limits` counts in a moving window: any 60 seconds, not each minute of the clock, so N is never exceeded."""

    def __init__(self, window_seconds: int = WINDOW_SECONDS) -> None:
        self._window_seconds = window_seconds
        self._storage = MemoryStorage()
        self._strategy = MovingWindowRateLimiter(self._storage)
        self._calls: dict[str, set[str]] = {}
        # One lock around looking and counting: what was found free is still free when it is taken, for all limits.
        self._lock = threading.Lock()

    def acquire(self, call: LimitRequest) -> LimitDecision:
        with self._lock:
            verdict = self._look(call)
            if verdict.admitted:
                self._count(call)
        return verdict.counted(self._window_seconds)

    def release(self, call: LimitRequest) -> None:
        with self._lock:
            calls = self._calls.get(call.key, set())
            calls.discard(call.token)
            if not calls:
                self._calls.pop(call.key, None)

    def holds(self, call: LimitRequest) -> bool:
        """Whether the call is in flight here."""
        with self._lock:
            return call.token in self._calls.get(call.key, ())

    def close(self) -> None:
        """Nothing is held open."""

    def _look(self, call: LimitRequest) -> LimitDecision:
        windows = tuple(self._window(call.key, rate) for rate in call.rates)
        in_flight = len(self._calls.get(call.key, ()))
        return LimitDecision(windows, call.max_calls is not None and in_flight >= call.max_calls)

    def _window(self, key: str, rate: RateLimit) -> WindowStats:
        # The library's own look tells neither when the last entry leaves nor when there is room for several.
        now = time.time()
        since = now - self._window_seconds
        entries = self._storage.events.get(rate.item(self._window_seconds).key_for(key, rate.unit), [])
        newest_first = [entry.atime for entry in entries if entry.atime >= since]
        used = len(newest_first)
        reset = newest_first[0] - since if used else 0.0
        leaving = used + rate.cost - rate.limit
        if leaving <= 0:
            return WindowStats(rate, used, reset, None)
        # More than the limit ever allows: as long as a window, since some number must be said.
        wait = newest_first[-leaving] - since if leaving <= used else float(self._window_seconds)
        return WindowStats(rate, used, reset, wait)

    def _count(self, call: LimitRequest) -> None:
        for rate in call.rates:
            self._strategy.hit(rate.item(self._window_seconds), call.key, rate.unit, cost=rate.cost)
        if call.max_calls is not None:
            self._calls.setdefault(call.key, set()).add(call.token)
