"""Owns the counters that several processes and machines share, in Redis."""

from __future__ import annotations

from collections.abc import Iterator

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.connection import ConnectionPool
from redis.retry import Retry

from app.limits.redis_script import TAKE
from app.limits.store import WINDOW_SECONDS, LimitDecision, LimitRequest, RateLimit, WindowStats

RedisUnavailable = RedisError  # whatever Redis says but a verdict: gone, hanging, loading, read-only, out of memory

# A caller waits for them before its process goes on alone, so they are short; Redis answers in well under 0.01 s.
SOCKET_SECONDS = 0.5

_PROBE = LimitRequest("probe", max_calls=1_000_000)


class RedisStore:
    """Moving windows under the keys of `limits`, laid out as it lays them out, but counted by a script of our own.

    The library's script knows one limit at a time: a request refused by the second would have counted against the
    first. Redis runs a script alone, so looking and counting are one step for all processes; and ours goes by Redis's
    clock, as machines' clocks differ. `max_call_seconds` is when a call whose worker died stops being in flight.
    """

    def __init__(
        self,
        url: str,
        max_call_seconds: float,
        window_seconds: int = WINDOW_SECONDS,
        socket_seconds: float = SOCKET_SECONDS,
    ) -> None:
        """Connects to nothing yet: the master creates this and forks. Raises `ValueError` on a URL of another kind."""
        self._max_call_seconds = max_call_seconds
        self._window_seconds = window_seconds
        self._pool = ConnectionPool.from_url(
            url,
            max_connections=1_000_000,  # how many ask at once is bounded by who asks
            socket_timeout=socket_seconds,
            socket_connect_timeout=socket_seconds,
            protocol=2,  # 3 would let a server lengthen the timeouts
            retry=Retry(NoBackoff(), 0),  # a lost answer may have been counted
        )
        self._redis = Redis(connection_pool=self._pool)
        self._script = self._redis.register_script(TAKE)

    def acquire(self, call: LimitRequest) -> LimitDecision:
        """Raises `RedisUnavailable`, and then may have counted the call or not."""
        max_calls = -1 if call.max_calls is None else call.max_calls
        arguments: list[str | int | float] = [call.token, max_calls, self._max_call_seconds, self._window_seconds]
        for rate in call.rates:
            arguments += [rate.limit, rate.cost]
        answer: list[int] = self._script(keys=list(self._keys(call)), args=arguments)
        windows = tuple(_window(rate, *answer[3 * i + 1 : 3 * i + 4]) for i, rate in enumerate(call.rates))
        return LimitDecision(windows, bool(answer[0])).counted(self._window_seconds)

    def release(self, call: LimitRequest) -> None:
        """Raises `RedisUnavailable`."""
        self._redis.zrem(self._calls_key(call), call.token)

    def probe(self) -> None:
        """Does what a call does, as a Redis that answers a ping may still refuse that. Raises `RedisUnavailable`."""
        self.acquire(_PROBE)
        self.release(_PROBE)

    def close(self) -> None:
        self._pool.disconnect()

    def _keys(self, call: LimitRequest) -> Iterator[str]:
        yield self._calls_key(call)
        for rate in call.rates:
            yield f"amux:{rate.item(self._window_seconds).key_for(call.key, rate.unit)}"

    def _calls_key(self, call: LimitRequest) -> str:
        return f"amux:calls/{call.key}"


def _window(rate: RateLimit, used: int, reset_ms: int, wait_ms: int) -> WindowStats:
    return WindowStats(rate, used, reset_ms / 1000, None if wait_ms < 0 else wait_ms / 1000)
