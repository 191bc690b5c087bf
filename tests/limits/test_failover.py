"""Redis gone, hanging, or refusing to write: the process counts alone, says so once, and comes back by itself."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
from redis import Redis

from app.accounts.api_key import Caller
from app.accounts.receipt import Receipt
from app.errors import RateLimited
from app.limits.failover import FailoverStore
from app.limits.memory_store import MemoryStore
from app.limits.rate_limiter import create_rate_limiter
from app.limits.redis_store import RedisStore
from app.limits.store import LimitRequest
from app.metrics import LIMITS_DEGRADED
from tests.limits.test_store import at_once, requests
from tests.support.processes import HOST, free_port
from tests.support.redis_server import RedisServer, needs_redis

GONE, BACK = "Redis is gone", "Redis is back"
Connect = Callable[..., FailoverStore]


@pytest.fixture
def connect() -> Iterator[Connect]:
    with ExitStack() as stack:

        def make(url: str, socket_seconds: float = 10) -> FailoverStore:
            shared = RedisStore(url, 600, socket_seconds=socket_seconds)
            return stack.enter_context(closing(FailoverStore(shared, MemoryStore(), retry_seconds=0.05)))

        yield make


def until(happened: Callable[[], Any]) -> None:
    give_up = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    records = [record for record in caplog.records if record.name == "app.limits.failover"]
    assert all(record.levelno == logging.WARNING for record in records)
    return [record.getMessage()[: len(GONE)] for record in records]


def degraded() -> float:
    return float(LIMITS_DEGRADED._value.get())


def test_a_gateway_starts_without_redis(connect: Connect, caplog: pytest.LogCaptureFixture, key: str) -> None:
    counters = connect(f"redis://:a-password@{HOST}:{free_port()}/0")
    assert [counters.acquire(requests(key, 2)).admitted for _ in range(3)] == [True, True, False]
    assert (said(caplog), degraded()) == ([GONE], 1)
    assert "a-password" not in caplog.text


@needs_redis
def test_the_limiter_of_two_processes_is_shared(shared_redis: RedisServer, key: str) -> None:
    caller = Caller(key, requests_per_minute=1)
    with (
        closing(create_rate_limiter(shared_redis.url, 200)) as one,
        closing(create_rate_limiter(shared_redis.url, 200)) as other,
    ):
        with one.acquire(caller, 1, Receipt()):
            pass
        with pytest.raises(RateLimited), other.acquire(caller, 1, Receipt()):
            pass


@needs_redis
def test_killed_and_started_again(
    connect: Connect, own_redis: RedisServer, caplog: pytest.LogCaptureFixture, key: str
) -> None:
    counters = connect(own_redis.url)
    for round_ in (1, 2):
        assert [counters.acquire(requests(key, 2)).admitted for _ in range(3)] == [True, True, False]
        own_redis.kill()
        alone = f"{key}{round_}"
        assert len(at_once(counters, [requests(alone, 4) for _ in range(20)])) == 4
        assert (said(caplog), degraded()) == ([GONE, BACK] * (round_ - 1) + [GONE], 1)
        own_redis.start()
        until(lambda: said(caplog)[-1] == BACK)
        assert (said(caplog), degraded()) == ([GONE, BACK] * round_, 0)


def test_no_thread_left_costs_no_call_anything(connect: Connect, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """Nobody looks for Redis then; who comes next does."""
    counters = connect(f"redis://{HOST}:{free_port()}/0")
    with monkeypatch.context() as exhausted:
        exhausted.setattr(threading.Thread, "start", no_thread)
        assert counters.acquire(requests(key, 1)).admitted
    assert not counters._away
    assert not counters.acquire(requests(key, 1)).admitted
    assert counters._away


def no_thread(_thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


@needs_redis
def test_back_means_counting_together(connect: Connect, own_redis: RedisServer, key: str) -> None:
    one, other = connect(own_redis.url), connect(own_redis.url)
    own_redis.kill()
    assert one.acquire(requests(key, 1)).admitted
    assert other.acquire(requests(key, 1)).admitted
    own_redis.start()
    until(lambda: not (one._away or other._away))
    assert one.acquire(requests(key, 1)).admitted
    assert not other.acquire(requests(key, 1)).admitted


@needs_redis
def test_a_hanging_redis_hangs_nobody_and_its_calls_are_given_back(
    connect: Connect, own_redis: RedisServer, caplog: pytest.LogCaptureFixture, key: str
) -> None:
    counters = connect(own_redis.url, socket_seconds=1)
    before, during, after = (LimitRequest(key, max_calls=1) for _ in range(3))
    assert counters.acquire(before).admitted
    own_redis.stop()
    assert len(at_once(counters, [requests(key, 10) for _ in range(100)])) == 10
    assert counters.acquire(during).admitted
    assert not counters.acquire(after).admitted
    counters.release(before)
    assert said(caplog) == [GONE]
    own_redis.go_on()
    until(lambda: not counters._away)
    assert counters.acquire(after).admitted
    assert not counters.acquire(LimitRequest(key, max_calls=1)).admitted
    counters.release(during)
    assert not counters.acquire(LimitRequest(key, max_calls=1)).admitted
    counters.release(after)
    assert counters.acquire(LimitRequest(key, max_calls=1)).admitted


@needs_redis
def test_lost_between_the_call_and_its_end(
    connect: Connect, own_redis: RedisServer, caplog: pytest.LogCaptureFixture, key: str
) -> None:
    counters = connect(own_redis.url)
    call = LimitRequest(key, max_calls=1)
    assert counters.acquire(call).admitted
    own_redis.kill()
    counters.release(call)
    assert said(caplog) == [GONE]
    own_redis.start()
    until(lambda: not counters._away)
    assert counters.acquire(call).admitted


@needs_redis
def test_a_redis_that_refuses_to_write_is_as_good_as_gone(
    connect: Connect, own_redis: RedisServer, caplog: pytest.LogCaptureFixture, key: str
) -> None:
    """It answers a ping, which must not be taken for being back, over and over."""
    counters = connect(own_redis.url)
    with Redis.from_url(own_redis.url) as redis:
        redis.replicaof(HOST, str(free_port()))
        assert counters.acquire(requests(key, 1)).admitted
        assert not counters.acquire(requests(key, 1)).admitted
        time.sleep(0.3)  # several looks
        assert said(caplog) == [GONE]
        redis.replicaof("NO", "ONE")
    until(lambda: said(caplog) == [GONE, BACK])


@needs_redis
def test_a_redis_that_forgot_the_script_is_told_it_again(
    connect: Connect, own_redis: RedisServer, caplog: pytest.LogCaptureFixture, key: str
) -> None:
    counters = connect(own_redis.url)
    assert counters.acquire(requests(key, 2)).admitted
    with Redis.from_url(own_redis.url) as redis:
        redis.script_flush()
    assert [counters.acquire(requests(key, 2)).admitted for _ in range(2)] == [True, False]
    assert said(caplog) == []
