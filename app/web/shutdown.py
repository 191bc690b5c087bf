"""Shutdown flag: set on SIGTERM, reported by /readyz."""

from __future__ import annotations

import time


class ShutdownFlag:
    """A flag without a lock, unlike `threading.Event`: a signal handler sets it, and may interrupt itself."""

    def __init__(self) -> None:
        self._set_at: float | None = None

    def set(self) -> None:
        self._set_at = self._set_at or time.monotonic()

    def is_set(self) -> bool:
        return self._set_at is not None

    def seconds(self) -> float:
        """Since the flag was set, 0 if it is not."""
        return time.monotonic() - self._set_at if self._set_at is not None else 0.0


shutting_down = ShutdownFlag()
