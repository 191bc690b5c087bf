"""Both rate limit stores, so that one set of tests covers them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing

import pytest

from app.limits.memory_store import MemoryStore
from app.limits.rate_limiter import KeyRateLimiter
from app.limits.redis_store import RedisStore
from app.limits.store import RateLimitStore
from tests.support.redis_server import needs_redis, own_redis, shared_redis  # noqa: F401

LIFETIME = 600.0


@pytest.fixture(params=["memory", pytest.param("redis", marks=needs_redis)])
def store(request: pytest.FixtureRequest) -> Iterator[RateLimitStore]:
    if request.param == "memory":
        yield MemoryStore()
        return
    url = request.getfixturevalue("shared_redis").url
    # A long timeout, so that a busy machine does not make Redis look unavailable.
    with closing(RedisStore(url, LIFETIME, socket_timeout_seconds=30)) as redis_store:
        yield redis_store


@pytest.fixture
def limiter(store: RateLimitStore) -> KeyRateLimiter:
    return KeyRateLimiter(store)


@pytest.fixture
def key() -> str:
    return uuid.uuid4().hex
