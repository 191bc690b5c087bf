"""Rate limit store in Redis, shared by several processes and machines."""

from __future__ import annotations

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.connection import ConnectionPool
from redis.retry import Retry

from app.limits.redis_script import ACQUIRE
from app.limits.store import LimitDecision, LimitRequest, LimitState, RateCheck, WindowStats

RedisUnavailable = RedisError  # any failure of the script: no connection, timeout, loading, read-only, out of memory

# A caller waits this long before its process fails over, so it is short. Redis replies in well under 0.01 s.
SOCKET_TIMEOUT_SECONDS = 0.5

_PROBE = LimitRequest("probe", max_calls=1_000_000)


class RedisStore:
    """Implements `RateLimitStore` by one script, which Redis runs alone: checking and counting are one step.

    Times are Redis's own, because the clocks of machines differ. A call that was not released, because its worker
    died, stops being in flight after `max_call_seconds`.
    """

    def __init__(
        self, url: str, max_call_seconds: float, socket_timeout_seconds: float = SOCKET_TIMEOUT_SECONDS
    ) -> None:
        """Does not connect yet, so it is safe before a fork. Raises `ValueError` for a URL that is not Redis's."""
        self._max_call_seconds = max_call_seconds
        self._pool = ConnectionPool.from_url(
            url,
            max_connections=1_000_000,  # FailoverStore bounds the number
            socket_timeout=socket_timeout_seconds,
            socket_connect_timeout=socket_timeout_seconds,
            protocol=2,  # with 3, a server may lengthen the timeouts
            retry=Retry(NoBackoff(), 0),  # a call whose reply was lost may have been counted
        )
        self._redis = Redis(connection_pool=self._pool)
        self._script = self._redis.register_script(ACQUIRE)

    def acquire(self, call: LimitRequest) -> LimitDecision:
        """Raises `RedisUnavailable`; whether the call was counted is then unknown."""
        state = self._run(call, -1 if call.max_calls is None else call.max_calls)
        calls_full = call.max_calls is not None and state.in_flight >= call.max_calls
        return LimitDecision(state.windows, calls_full).after_call()

    def read(self, call: LimitRequest) -> LimitState:
        """Raises `RedisUnavailable`."""
        return self._run(call, 0)  # where no call may be in flight, none is admitted, and the script counts nothing

    def _run(self, call: LimitRequest, max_calls: int) -> LimitState:
        keys = [_calls_key(call), *(f"amux:{check.counter(call.key)}" for check in call.checks)]
        arguments: list[str | int | float] = [call.token, max_calls, self._max_call_seconds]
        for check in call.checks:
            arguments += [check.limit, check.cost, check.rate.window_seconds]
        reply: list[int] = self._script(keys=keys, args=arguments)
        windows = tuple(_window(check, *reply[3 * i + 1 : 3 * i + 4]) for i, check in enumerate(call.checks))
        return LimitState(windows, reply[0])

    def release(self, call: LimitRequest) -> None:
        """Raises `RedisUnavailable`."""
        self._redis.zrem(_calls_key(call), call.token)

    def probe(self) -> None:
        """Acquire and release a call: a Redis that replies to a ping may still reject writes.

        Raises `RedisUnavailable`.
        """
        self.acquire(_PROBE)
        self.release(_PROBE)

    def close(self) -> None:
        self._pool.disconnect()


def _calls_key(call: LimitRequest) -> str:
    return f"amux:calls/{call.key}"


def _window(check: RateCheck, used: int, reset_ms: int, wait_ms: int) -> WindowStats:
    return WindowStats(check, used, reset_ms / 1000, None if wait_ms < 0 else wait_ms / 1000)
