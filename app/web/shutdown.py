"""Owns whether this process is on its way out: the server's worker sets it, `/readyz` tells it."""

from __future__ import annotations


class ShutdownFlag:
    """Without a lock, unlike `threading.Event`: it is set by a signal, which may interrupt its own handler."""

    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        self._is_set = True

    def is_set(self) -> bool:
        return self._is_set


shutting_down = ShutdownFlag()
