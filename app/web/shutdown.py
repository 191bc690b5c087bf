"""Shutdown flag: set on SIGTERM, reported by /readyz."""

from __future__ import annotations


class ShutdownFlag:
    """A flag without a lock, unlike `threading.Event`: a signal handler sets it, and may interrupt itself."""

    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        self._is_set = True

    def is_set(self) -> bool:
        return self._is_set


shutting_down = ShutdownFlag()
