"""Calls that go on after their request: a stop of the worker waits for them."""

from __future__ import annotations

import _thread
import threading
from collections.abc import Callable


class BackgroundCalls:
    """Starts a thread for each call, and counts those that run."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()

    def start(self, function: Callable[[], None]) -> None:
        """`function` must not raise."""
        with self._lock:
            self.count += 1
        _thread.start_new_thread(self._run, (function,))  # a Thread takes 2 KB more while the call waits

    def _run(self, function: Callable[[], None]) -> None:
        try:
            function()
        finally:
            with self._lock:
                self.count -= 1


background_calls = BackgroundCalls()
