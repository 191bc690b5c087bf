"""Data types and the `RateLimitStore` interface."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from typing import Protocol

from app.accounts.key_limits import RateLimit


@dataclass(frozen=True)
class RateCheck:
    """A rate limit of one key: at most `limit` units in any window, of which the request needs `cost`."""

    rate: RateLimit
    limit: int
    cost: int

    def counter(self, key: str) -> str:
        """The name of the counter in a store. A key whose limit changes starts a new one."""
        return f"rates/{key}/{self.rate.unit}/{self.limit}/{self.rate.window_seconds}/second"


@dataclass(frozen=True)
class LimitRequest:
    """What one call needs of the limits of its key.

    `checks` holds only the rate limits that are set. `max_calls` is how many calls of the key may be in flight, None
    for any number. `token` identifies the call among them.
    """

    key: str
    checks: tuple[RateCheck, ...] = ()
    max_calls: int | None = None
    token: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass(frozen=True)
class WindowStats:
    """State of one rate limit: `used` units are in the window now.

    In seconds: `reset` until the window is empty, `wait` until the call fits, None if it fits now. `wait` is the whole
    window for a call that costs more than the limit, which never fits.
    """

    check: RateCheck
    used: int
    reset: float
    wait: float | None

    def after_call(self) -> WindowStats:
        """The state once the call is counted."""
        return replace(self, used=self.used + self.check.cost, reset=float(self.check.rate.window_seconds))


@dataclass(frozen=True)
class LimitDecision:
    """What the store decided about one `LimitRequest`.

    `windows` has the state of each rate limit, in the order of `LimitRequest.checks`: after the call if it is
    admitted, else unchanged by it. `calls_full` is whether `max_calls` calls are in flight already.
    """

    windows: tuple[WindowStats, ...]
    calls_full: bool

    @property
    def admitted(self) -> bool:
        return not self.calls_full and all(window.wait is None for window in self.windows)

    def after_call(self) -> LimitDecision:
        """The decision with the windows as they are once the call is counted, which it is only if admitted."""
        if not self.admitted:
            return self
        return replace(self, windows=tuple(window.after_call() for window in self.windows))


@dataclass(frozen=True)
class LimitState:
    """What is counted for a key now: the windows in the order of `LimitRequest.checks`, and its calls in flight."""

    windows: tuple[WindowStats, ...]
    in_flight: int


class RateLimitStore(Protocol):
    """Counts calls in sliding windows: N units in any window, not in each minute of the clock, and calls in flight.

    Implementations are safe to use from several threads.
    """

    def acquire(self, call: LimitRequest) -> LimitDecision:
        """Check and count the call in one step: against all of its limits, or, if one is exceeded, against none."""
        ...

    def read(self, call: LimitRequest) -> LimitState:
        """What is counted for the key of the call. Counts nothing."""
        ...

    def release(self, call: LimitRequest) -> None:
        """Remove the call from those in flight. Its units stay counted until they leave their windows.

        Releasing a call that is not in flight does nothing.
        """
        ...

    def close(self) -> None: ...
