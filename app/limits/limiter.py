"""Owns the door: what a caller's limits are turned into, and who is let in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from app.accounts.caller import Caller
from app.accounts.receipt import Receipt
from app.limits import told
from app.limits.counters import Call, Counters, Rate
from app.limits.falling_back import FallingBack
from app.limits.in_memory import MemoryCounters
from app.limits.in_redis import RedisCounters


class KeyLimiter:
    """Implements `app.accounts.limiter.Limiter`. A caller without limits costs nothing, not even a look at Redis."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    @contextmanager
    def admit(self, caller: Caller, images: int, receipt: Receipt) -> Iterator[None]:
        call = call_of(caller, images)
        if call.rates or call.max_calls is not None:
            verdict = self._counters.take(call)
            receipt.limits.update(told.headers(verdict.windows))
            if not verdict.admitted:
                raise told.refusal(call, verdict)
        try:
            yield
        finally:
            if call.max_calls is not None:
                self._counters.give_back(call)

    def close(self) -> None:
        """Lets go of Redis. A process that ends need not call it."""
        self._counters.close()


def create_limiter(redis_url: str | None, max_call_seconds: float) -> KeyLimiter:
    """Redis is not asked yet: a gateway starts without it, too. Raises `ValueError` on a URL of another kind.

    `max_call_seconds` is longer than any call may last: so long does Redis believe that one is in flight.
    """
    if redis_url is None:
        return KeyLimiter(MemoryCounters())
    return KeyLimiter(FallingBack(RedisCounters(redis_url, max_call_seconds), MemoryCounters()))


def call_of(caller: Caller, images: int) -> Call:
    rates = []
    if caller.requests_per_minute is not None:
        rates.append(Rate("requests", caller.requests_per_minute, 1))
    if caller.images_per_minute is not None:
        rates.append(Rate("images", caller.images_per_minute, images))
    return Call(caller.name, tuple(rates), caller.max_calls)
