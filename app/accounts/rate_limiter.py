"""`RateLimiter` interface, what is left of a key's limits, and `NoRateLimits`, for a gateway without a database."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

from app.accounts.api_key import Caller
from app.accounts.key_limits import RATE_LIMITS, UNLIMITED, KeyLimits
from app.accounts.receipt import Receipt


@dataclass(frozen=True)
class LimitsLeft:
    """What a key may still use now, None where there is no limit.

    `reset_seconds` is by the name of a rate limit: the whole seconds until nothing of it is used.
    """

    remaining: KeyLimits
    reset_seconds: Mapping[str, int | None]


class RateLimiter(Protocol):
    def acquire(self, caller: Caller, images: int, receipt: Receipt) -> AbstractContextManager[None]:
        """Count one request of `images` images; the call is in flight until the context ends.

        Writes the `x-ratelimit-…` headers into `receipt`. Raises `RateLimited`, and then counts nothing.
        """
        ...

    def count(self, caller: Caller, receipt: Receipt) -> None:
        """Count one request that makes no call of its own, against the requests a minute only.

        Writes the headers of that limit into `receipt`. Raises `RateLimited`, and then counts nothing.
        """
        ...

    def left(self, caller: Caller) -> LimitsLeft:
        """What is left of the limits of `caller`. Counts nothing."""
        ...


class NoRateLimits:
    def acquire(self, caller: Caller, images: int, receipt: Receipt) -> AbstractContextManager[None]:
        return nullcontext()

    def count(self, caller: Caller, receipt: Receipt) -> None:
        """Do nothing: there are no limits."""

    def left(self, caller: Caller) -> LimitsLeft:
        return LimitsLeft(UNLIMITED, {rate.name: None for rate in RATE_LIMITS})
