"""Owns the door: what a caller's limits are turned into, and who is let in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from app.accounts.api_key import Caller
from app.accounts.receipt import Receipt
from app.limits import responses
from app.limits.failover import FailoverStore
from app.limits.memory_store import MemoryStore
from app.limits.redis_store import RedisStore
from app.limits.store import LimitRequest, RateLimit, RateLimitStore


class KeyRateLimiter:
    """Implements `app.accounts.rate_limiter.RateLimiter`. A caller without limits makes no request to the store."""

    def __init__(self, counters: RateLimitStore) -> None:
        self._counters = counters

    @contextmanager
    def acquire(self, caller: Caller, images: int, receipt: Receipt) -> Iterator[None]:
        call = limit_request_for(caller, images)
        if call.rates or call.max_calls is not None:
            verdict = self._counters.acquire(call)
            receipt.limits.update(responses.headers(verdict.windows))
            if not verdict.admitted:
                raise responses.rate_limit_error(call, verdict)
        try:
            yield
        finally:
            if call.max_calls is not None:
                self._counters.release(call)

    def close(self) -> None:
        """Lets go of Redis. A process that ends need not call it."""
        self._counters.close()


def create_rate_limiter(redis_url: str | None, max_call_seconds: float) -> KeyRateLimiter:
    """Redis is not asked yet: a gateway starts without it, too. Raises `ValueError` on a URL of another kind.

    `max_call_seconds` is longer than any call may last: so long does Redis believe that one is in flight.
    """
    if redis_url is None:
        return KeyRateLimiter(MemoryStore())
    return KeyRateLimiter(FailoverStore(RedisStore(redis_url, max_call_seconds), MemoryStore()))


def limit_request_for(caller: Caller, images: int) -> LimitRequest:
    rates = []
    if caller.requests_per_minute is not None:
        rates.append(RateLimit("requests", caller.requests_per_minute, 1))
    if caller.images_per_minute is not None:
        rates.append(RateLimit("images", caller.images_per_minute, images))
    return LimitRequest(caller.fingerprint, tuple(rates), caller.max_calls)
