"""`Cancellation`: ends the wait of a call for its turn."""

from __future__ import annotations

from collections.abc import Callable


class Cancellation:
    """Of one call. It has no effect on a call that has had its turn. Safe for threads."""

    __slots__ = ("_wake", "is_cancelled")

    def __init__(self) -> None:
        self.is_cancelled = False
        self._wake: Callable[[], None] | None = None

    def cancel(self) -> None:
        self.is_cancelled = True
        if self._wake is not None:
            self._wake()

    def when_cancelled(self, wake: Callable[[], None]) -> None:
        """Call `wake`, which replaces an earlier one, when the call is cancelled; at once if it has been."""
        self._wake = wake
        if self.is_cancelled:
            wake()
