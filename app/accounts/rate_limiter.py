"""`RateLimiter` interface and `NoRateLimits`, for a gateway without a database."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from app.accounts.api_key import Caller
from app.accounts.receipt import Receipt


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


class NoRateLimits:
    def acquire(self, caller: Caller, images: int, receipt: Receipt) -> AbstractContextManager[None]:
        return nullcontext()

    def count(self, caller: Caller, receipt: Receipt) -> None:
        """Do nothing: there are no limits."""
