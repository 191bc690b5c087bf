"""Redis down, hanging or read-only: the process counts its calls itself, logs that once, and recovers."""

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
from app.accounts.key_limits import KeyLimits
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

UNAVAILABLE, AVAILABLE = "Redis unavailable", "Redis available again"
Connect = Callable[..., FailoverStore]


@pytest.fixture
def connect() -> Iterator[Connect]:
    with ExitStack() as stack:

        def make(url: str, socket_timeout_seconds: float = 10) -> FailoverStore:
            shared = RedisStore(url, 600, socket_timeout_seconds=socket_timeout_seconds)
            return stack.enter_context(closing(FailoverStore(shared, MemoryStore(), retry_seconds=0.05)))

        yield make


def wait_for(happened: Callable[[], Any]) -> None:
    give_up = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    records = [record for record in caplog.records if record.name == "app.limits.failover"]
    assert all(record.levelno == logging.WARNING for record in records)
    beginnings = (UNAVAILABLE, AVAILABLE)
    return [next(text for text in beginnings if record.getMessage().startswith(text)) for record in records]


def degraded() -> float:
    return float(LIMITS_DEGRADED._value.get())


def test_store_works_without_redis(connect: Connect, caplog: pytest.LogCaptureFixture, key: str) -> None:
    store = connect(f"redis://:a-password@{HOST}:{free_port()}/0")
    assert [store.acquire(requests(key, 2)).admitted for _ in range(3)] == [True, True, False]
    assert [window.used for window in store.read(requests(key, 2)).windows] == [2]
    assert (logged(caplog), degraded()) == ([UNAVAILABLE], 1)
    assert "a-password" not in caplog.text


@needs_redis
def test_two_limiters_on_one_redis_share_their_limits(shared_redis: RedisServer, key: str) -> None:
    caller = Caller(key, limits=KeyLimits(requests_per_minute=1))
    with (
        closing(create_rate_limiter(shared_redis.url, 200)) as one,
        closing(create_rate_limiter(shared_redis.url, 200)) as other,
    ):
        with one.acquire(caller, 1, Receipt()):
            pass
        with pytest.raises(RateLimited), other.acquire(caller, 1, Receipt()):
            pass


@needs_redis
def test_redis_killed_and_restarted(
    connect: Connect, own_redis: RedisServer, caplog: pytest.LogCaptureFixture, key: str
) -> None:
    store = connect(own_redis.url)
    for round_ in (1, 2):
        assert [store.acquire(requests(key, 2)).admitted for _ in range(3)] == [True, True, False]
        own_redis.kill()
        alone = f"{key}{round_}"
        assert len(at_once(store, [requests(alone, 4) for _ in range(20)])) == 4
        assert (logged(caplog), degraded()) == ([UNAVAILABLE, AVAILABLE] * (round_ - 1) + [UNAVAILABLE], 1)
        own_redis.start()
        wait_for(lambda: logged(caplog)[-1] == AVAILABLE)
        assert (logged(caplog), degraded()) == ([UNAVAILABLE, AVAILABLE] * round_, 0)


def test_failed_start_of_the_probe_thread_fails_no_call(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """Without a probe thread, the next call tries Redis itself."""
    store = connect(f"redis://{HOST}:{free_port()}/0")
    with monkeypatch.context() as exhausted:
        exhausted.setattr(threading.Thread, "start", fail_to_start)
        assert store.acquire(requests(key, 1)).admitted
    assert not store._failed_over
    assert not store.acquire(requests(key, 1)).admitted
    assert store._failed_over


def fail_to_start(_thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


@needs_redis
def test_limits_are_shared_after_the_recovery(connect: Connect, own_redis: RedisServer, key: str) -> None:
    one, other = connect(own_redis.url), connect(own_redis.url)
    own_redis.kill()
    assert one.acquire(requests(key, 1)).admitted
    assert other.acquire(requests(key, 1)).admitted
    own_redis.start()
    wait_for(lambda: not (one._failed_over or other._failed_over))
    assert one.acquire(requests(key, 1)).admitted
    assert not other.acquire(requests(key, 1)).admitted


@needs_redis
def test_hanging_redis_delays_calls_by_one_timeout_and_loses_no_release(
    connect: Connect, own_redis: RedisServer, caplog: pytest.LogCaptureFixture, key: str
) -> None:
    store = connect(own_redis.url, socket_timeout_seconds=1)
    before, during, after = (LimitRequest(key, max_calls=1) for _ in range(3))
    assert store.acquire(before).admitted
    own_redis.stop()
    assert len(at_once(store, [requests(key, 10) for _ in range(100)])) == 10
    assert store.acquire(during).admitted
    assert not store.acquire(after).admitted
    store.release(before)
    assert logged(caplog) == [UNAVAILABLE]
    own_redis.go_on()
    wait_for(lambda: not store._failed_over)
    assert store.acquire(after).admitted
    assert not store.acquire(LimitRequest(key, max_calls=1)).admitted
    store.release(during)
    assert not store.acquire(LimitRequest(key, max_calls=1)).admitted
    store.release(after)
    assert store.acquire(LimitRequest(key, max_calls=1)).admitted


@needs_redis
def test_release_during_an_outage_is_made_up_for(
    connect: Connect, own_redis: RedisServer, caplog: pytest.LogCaptureFixture, key: str
) -> None:
    store = connect(own_redis.url)
    call = LimitRequest(key, max_calls=1)
    assert store.acquire(call).admitted
    own_redis.kill()
    store.release(call)
    assert logged(caplog) == [UNAVAILABLE]
    own_redis.start()
    wait_for(lambda: not store._failed_over)
    assert store.acquire(call).admitted


@needs_redis
def test_redis_that_rejects_writes_is_unavailable(
    connect: Connect, own_redis: RedisServer, caplog: pytest.LogCaptureFixture, key: str
) -> None:
    """It replies to a ping, which must not end the failover."""
    store = connect(own_redis.url)
    with Redis.from_url(own_redis.url) as redis:
        redis.replicaof(HOST, str(free_port()))
        assert store.acquire(requests(key, 1)).admitted
        assert not store.acquire(requests(key, 1)).admitted
        time.sleep(0.3)  # several probes
        assert logged(caplog) == [UNAVAILABLE]
        redis.replicaof("NO", "ONE")
    wait_for(lambda: logged(caplog) == [UNAVAILABLE, AVAILABLE])


@needs_redis
def test_flushed_script_is_loaded_again(
    connect: Connect, own_redis: RedisServer, caplog: pytest.LogCaptureFixture, key: str
) -> None:
    store = connect(own_redis.url)
    assert store.acquire(requests(key, 2)).admitted
    with Redis.from_url(own_redis.url) as redis:
        redis.script_flush()
    assert [store.acquire(requests(key, 2)).admitted for _ in range(2)] == [True, False]
    assert logged(caplog) == []
