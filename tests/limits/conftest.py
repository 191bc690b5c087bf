"""Both kinds of counters, so that one set of cases can walk them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from app.limits.memory_store import MemoryStore
from app.limits.rate_limiter import KeyRateLimiter
from app.limits.redis_store import RedisStore
from app.limits.store import RateLimitStore
from tests.support.redis_server import RedisServer, needs_redis, redis_server

MakeCounters = Callable[..., RateLimitStore]
LIFETIME = 600.0


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One for all tests that do it no harm; each counts under a key of its own."""
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One to be killed and stopped."""
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(params=["memory", pytest.param("redis", marks=needs_redis)])
def make_counters(request: pytest.FixtureRequest) -> Iterator[MakeCounters]:
    with ExitStack() as stack:

        def make(window_seconds: int = 60) -> RateLimitStore:
            if request.param == "memory":
                return MemoryStore(window_seconds)
            url = request.getfixturevalue("shared_redis").url
            # Patient, so that a busy machine is not taken for a Redis that is gone.
            counters = RedisStore(url, LIFETIME, window_seconds, socket_seconds=30)
            return stack.enter_context(closing(counters))

        yield make


@pytest.fixture
def counters(make_counters: MakeCounters) -> RateLimitStore:
    return make_counters()


@pytest.fixture
def limiter(counters: RateLimitStore) -> KeyRateLimiter:
    return KeyRateLimiter(counters)


@pytest.fixture
def key() -> str:
    return uuid.uuid4().hex
