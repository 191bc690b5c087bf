"""Owns what a limiter is, and the one that limits nobody."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from app.accounts.api_key import Caller
from app.accounts.receipt import Receipt


class RateLimiter(Protocol):
    def acquire(self, caller: Caller, images: int, receipt: Receipt) -> AbstractContextManager[None]:
        """Counts one request of `images` pictures, in flight until the context ends.

        Raises `RateLimited`, having counted nothing. Writes `x-ratelimit-…` headers into the receipt either way.
        """
        ...


class NoRateLimits:
    def acquire(self, caller: Caller, images: int, receipt: Receipt) -> AbstractContextManager[None]:
        return nullcontext()
