"""Owns the words of counting: what one call asks for, and what a counter answers."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from limits import RateLimitItem, RateLimitItemPerSecond

WINDOW_SECONDS = 60

Unit = Literal["requests", "images"]


@dataclass(frozen=True)
class RateLimit:
    """One limit a minute, and how much of it the call would use up."""

    unit: Unit
    limit: int
    cost: int

    def item(self, window_seconds: int) -> RateLimitItem:
        # Per second times 60 is the same as per minute, and lets tests take a shorter window.
        return RateLimitItemPerSecond(self.limit, window_seconds, namespace="rates")


@dataclass(frozen=True)
class LimitRequest:
    """`rates` holds only what is limited; `max_calls` is None where calls in flight are not."""

    key: str
    rates: tuple[RateLimit, ...] = ()
    max_calls: int | None = None
    token: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass(frozen=True)
class WindowStats:
    """A limit as it stands. In seconds: `reset` until all of it is free again, `wait` until the call fits.

    `wait` is None where it fits now.
    """

    rate: RateLimit
    used: int
    reset: float
    wait: float | None

    def after(self, window_seconds: int) -> WindowStats:
        """The same once the call is counted."""
        return replace(self, used=self.used + self.rate.cost, reset=float(window_seconds))


@dataclass(frozen=True)
class LimitDecision:
    windows: tuple[WindowStats, ...]
    calls_full: bool

    @property
    def admitted(self) -> bool:
        return not self.calls_full and all(window.wait is None for window in self.windows)

    def counted(self, window_seconds: int) -> LimitDecision:
        """As it stands afterwards: a call that is not admitted has changed nothing."""
        if not self.admitted:
            return self
        return replace(self, windows=tuple(window.after(window_seconds) for window in self.windows))


class RateLimitStore(Protocol):
    def acquire(self, call: LimitRequest) -> LimitDecision:
        """Counts the call against all of its limits, or against none."""
        ...

    def release(self, call: LimitRequest) -> None:
        """The call is in flight no more. What it counted a minute stays counted."""
        ...

    def close(self) -> None: ...
