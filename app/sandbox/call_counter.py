"""Counts the calls that each key begins in a sliding window."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable

WINDOW_SECONDS = 60.0


class CallCounter:
    def __init__(
        self, limit: int, *, window_seconds: float = WINDOW_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`limit` is how many calls a key may begin in any `window_seconds`, 0 for any number."""
        self._limit = limit
        self._window = window_seconds
        self._clock = clock
        self._starts: defaultdict[str, deque[float]] = defaultdict(deque)
        self._lock = threading.Lock()

    def begin(self, key: str) -> bool:
        """Count a call of `key`. False if it is one too many; such a call is not counted."""
        if not self._limit:
            return True
        with self._lock:
            now, starts = self._clock(), self._starts[key]
            while starts and starts[0] <= now - self._window:
                starts.popleft()
            if len(starts) >= self._limit:
                return False
            starts.append(now)
            return True
