"""Both pacer stores, so that one set of tests covers them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from redis import Redis

from app.pacing.redis_store import RedisStore
from app.pacing.sqlite_store import SqliteStore
from app.pacing.store import KeyRate, PacerStore
from tests.support.redis_server import needs_redis, own_redis, shared_redis  # noqa: F401

WINDOW = 0.3  # seconds
SOCKET_SECONDS = 30  # so that a busy machine does not make Redis look unavailable


@dataclass
class Pacing:
    """Makes stores that share their state, as those of several processes do. `address` is a file or a URL."""

    kind: str
    address: str
    window: float = WINDOW
    stack: ExitStack = field(default_factory=ExitStack)

    def create(self, *rates: int) -> PacerStore:
        """A store that starts empty, with keys `key-0`, `key-1`, … of these rates."""
        keys = [KeyRate(f"key-{number}", rate) for number, rate in enumerate(rates)]
        if self.kind == "sqlite":
            SqliteStore(Path(self.address)).create(keys)
        else:
            with Redis.from_url(self.address) as client:
                client.flushall()
        return self.join(*rates)

    def join(self, *rates: int) -> PacerStore:
        """The store of another process."""
        return self.stack.enter_context(closing(open_store(self.kind, self.address, self.window, *rates)))


def open_store(kind: str, address: str, window: float, *rates: int) -> PacerStore:
    if kind == "sqlite":
        return SqliteStore(Path(address), window_seconds=window)
    keys = [KeyRate(f"key-{number}", rate) for number, rate in enumerate(rates)]
    return RedisStore(address, keys, window_seconds=window, socket_seconds=SOCKET_SECONDS)


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=needs_redis)])
def pacing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pacing]:
    is_sqlite = request.param == "sqlite"
    address = str(tmp_path / "pacing.db") if is_sqlite else request.getfixturevalue("shared_redis").url
    made = Pacing(request.param, address)
    with made.stack:
        yield made


@pytest.fixture
def short_lease(monkeypatch: pytest.MonkeyPatch) -> float:
    """The seconds after which a silent worker is dead, shortened."""
    return _shorten(monkeypatch, "LEASE_SECONDS")(0.3)


@pytest.fixture
def short_probe(monkeypatch: pytest.MonkeyPatch) -> float:
    """The seconds after which a silent probe is given up, shortened."""
    return _shorten(monkeypatch, "PROBE_SECONDS")(0.3)


def _shorten(monkeypatch: pytest.MonkeyPatch, name: str) -> Callable[[float], float]:
    def shorten(seconds: float) -> float:
        for store in ("sqlite_store", "redis_store"):
            monkeypatch.setattr(f"app.pacing.{store}.{name}", seconds)
        return seconds

    return shorten
