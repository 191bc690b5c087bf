"""Rate limit store in the memory of one process."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from app.limits.store import LimitDecision, LimitRequest, LimitState, RateCheck, WindowStats

PURGE_SECONDS = 60.0


class _Counter:
    """The units that were counted in one sliding window: when and how many, oldest first."""

    def __init__(self, window_seconds: int) -> None:
        self.used = 0
        self._window_seconds = window_seconds
        self._entries: deque[tuple[float, int]] = deque()

    def add(self, now: float, cost: int) -> None:
        self._entries.append((now, cost))
        self.used += cost

    def expire(self, now: float) -> None:
        while self._entries and self._entries[0][0] < now - self._window_seconds:
            self.used -= self._entries.popleft()[1]

    def seconds_until_empty(self, now: float) -> float:
        return self._entries[-1][0] + self._window_seconds - now if self._entries else 0.0

    def seconds_until_free(self, units: int, now: float) -> float:
        """Until `units` of those in the window have left it: the whole window if there are not so many."""
        for counted_at, cost in self._entries:
            units -= cost
            if units <= 0:
                return counted_at + self._window_seconds - now
        return float(self._window_seconds)


class MemoryStore:
    """Implements `RateLimitStore`. Memory is bounded: a counter whose window is empty is dropped within a minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counters: dict[str, _Counter] = {}
        self._calls: dict[str, set[str]] = {}
        self._purge_at = clock() + PURGE_SECONDS
        self._lock = threading.Lock()  # held while a call is checked and counted, so that both are one step

    def acquire(self, call: LimitRequest) -> LimitDecision:
        with self._lock:
            now = self._clock()
            self._purge(now)
            decision = self._decide(call, now)
            if decision.admitted:
                self._count(call, now)
        return decision.after_call()

    def read(self, call: LimitRequest) -> LimitState:
        with self._lock:
            return self._state(call, self._clock())

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
        """Do nothing: no connection is open."""

    def _decide(self, call: LimitRequest, now: float) -> LimitDecision:
        state = self._state(call, now)
        return LimitDecision(state.windows, call.max_calls is not None and state.in_flight >= call.max_calls)

    def _state(self, call: LimitRequest, now: float) -> LimitState:
        windows = tuple(self._window(call.key, check, now) for check in call.checks)
        return LimitState(windows, len(self._calls.get(call.key, ())))

    def _window(self, key: str, check: RateCheck, now: float) -> WindowStats:
        counter = self._counters.get(check.counter(key)) or _Counter(check.rate.window_seconds)
        counter.expire(now)
        excess = counter.used + check.cost - check.limit
        wait = counter.seconds_until_free(excess, now) if excess > 0 else None
        return WindowStats(check, counter.used, counter.seconds_until_empty(now), wait)

    def _count(self, call: LimitRequest, now: float) -> None:
        for check in call.checks:
            counter = self._counters.setdefault(check.counter(call.key), _Counter(check.rate.window_seconds))
            counter.add(now, check.cost)
        if call.max_calls is not None:
            self._calls.setdefault(call.key, set()).add(call.token)

    def _purge(self, now: float) -> None:
        if now < self._purge_at:
            return
        self._purge_at = now + PURGE_SECONDS
        for counter in self._counters.values():
            counter.expire(now)
        self._counters = {name: counter for name, counter in self._counters.items() if counter.used}
