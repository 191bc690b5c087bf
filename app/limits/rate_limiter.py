"""`KeyRateLimiter`: turns the limits of an API key into a request to the store."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from app.accounts.api_key import Caller
from app.accounts.key_limits import RATE_LIMITS, KeyLimits
from app.accounts.rate_limiter import LimitsLeft
from app.accounts.receipt import Receipt
from app.limits import responses
from app.limits.failover import FailoverStore
from app.limits.memory_store import MemoryStore
from app.limits.redis_store import RedisStore
from app.limits.store import LimitRequest, RateCheck, RateLimitStore


class KeyRateLimiter:
    """Implements `app.accounts.rate_limiter.RateLimiter`. For a caller without limits it does not ask the store."""

    def __init__(self, store: RateLimitStore) -> None:
        self._store = store

    @contextmanager
    def acquire(self, caller: Caller, images: int, receipt: Receipt) -> Iterator[None]:
        call = limit_request_for(caller, images)
        self._count(call, receipt)
        try:
            yield
        finally:
            if call.max_calls is not None:
                self._store.release(call)

    def count(self, caller: Caller, receipt: Receipt) -> None:
        call = limit_request_for(caller, 0)
        checks = tuple(check for check in call.checks if check.cost)
        self._count(replace(call, checks=checks, max_calls=None), receipt)

    def left(self, caller: Caller) -> LimitsLeft:
        call = limit_request_for(caller, 0)
        state = self._store.read(call)
        remaining = {each.check.rate.name: max(each.check.limit - each.used, 0) for each in state.windows}
        if call.max_calls is not None:
            remaining["max_calls"] = max(call.max_calls - state.in_flight, 0)
        resets = {each.check.rate.name: math.ceil(each.reset) for each in state.windows}
        return LimitsLeft(KeyLimits(**remaining), {rate.name: resets.get(rate.name) for rate in RATE_LIMITS})

    def _count(self, call: LimitRequest, receipt: Receipt) -> None:
        if call.checks or call.max_calls is not None:
            decision = self._store.acquire(call)
            receipt.limits.update(responses.headers(decision.windows))
            if not decision.admitted:
                raise responses.rate_limit_error(call, decision)

    def close(self) -> None:
        """Close the connections to Redis. A process that ends need not call it."""
        self._store.close()


def create_rate_limiter(redis_url: str | None, max_call_seconds: float) -> KeyRateLimiter:
    """A limiter in this process, or in Redis if there is a URL. Does not connect yet: Redis need not be up.

    `max_call_seconds` must exceed the duration of any call: after it, Redis drops a call that was not released.
    Raises `ValueError` for a URL that is not Redis's.
    """
    if redis_url is None:
        return KeyRateLimiter(MemoryStore())
    return KeyRateLimiter(FailoverStore(RedisStore(redis_url, max_call_seconds), MemoryStore()))


def limit_request_for(caller: Caller, images: int) -> LimitRequest:
    """What a request of `caller` for `images` images needs of the caller's limits."""
    costs = {"requests": 1, "images": images}
    checks = tuple(RateCheck(rate, limit, costs[rate.unit]) for rate, limit in caller.limits.rates())
    return LimitRequest(caller.fingerprint, checks, caller.limits.max_calls)
