"""Both pacer stores, so that one set of tests covers them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from redis import Redis

from app.pacing.redis_store import RedisStore
from app.pacing.sqlite_store import SqliteStore
from app.pacing.store import KeyRate, PacerStore
from tests.support.redis_server import needs_redis, own_redis, shared_redis  # noqa: F401

# In seconds. In most tests nothing waits for the window to pass, so that it must not pass on a busy machine either.
WINDOW, SHORT_WINDOW = 60.0, 0.3
LEASE_SECONDS = 60.0
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

    def join(self, *rates: int, window: float | None = None) -> PacerStore:
        """The store of another process."""
        return self.stack.enter_context(closing(open_store(self.kind, self.address, window or self.window, *rates)))

    def impatient(self, *rates: int) -> PacerStore:
        """The same store with a short window: for it, what began in the long one is over soon."""
        return self.join(*rates, window=SHORT_WINDOW)

    def silence(self, worker: str, seconds: float) -> None:
        """As if the worker had not asked for so many seconds more."""
        if self.kind == "sqlite":
            with closing(sqlite3.connect(self.address, isolation_level=None, timeout=30)) as connection:
                connection.execute("UPDATE workers SET seen = seen - ? WHERE worker = ?", (seconds, worker))
        else:
            with Redis.from_url(self.address) as client:
                client.zincrby("amux:pacing/workers", -seconds, worker)


def open_store(kind: str, address: str, window: float, *rates: int) -> PacerStore:
    if kind == "sqlite":
        return SqliteStore(Path(address), window_seconds=window)
    keys = [KeyRate(f"key-{number}", rate) for number, rate in enumerate(rates)]
    return RedisStore(address, keys, window_seconds=window, socket_seconds=SOCKET_SECONDS)


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=needs_redis)])
def pacing(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pacing]:
    set_seconds(monkeypatch, "LEASE_SECONDS", LEASE_SECONDS)
    is_sqlite = request.param == "sqlite"
    address = str(tmp_path / "pacing.db") if is_sqlite else request.getfixturevalue("shared_redis").url
    made = Pacing(request.param, address)
    with made.stack:
        yield made


@pytest.fixture
def short_probe(monkeypatch: pytest.MonkeyPatch) -> float:
    """The seconds after which a silent probe is given up, shortened."""
    return set_seconds(monkeypatch, "PROBE_SECONDS", 0.3)


def set_seconds(monkeypatch: pytest.MonkeyPatch, name: str, seconds: float) -> float:
    for store in ("sqlite_store", "redis_store"):
        monkeypatch.setattr(f"app.pacing.{store}.{name}", seconds)
    return seconds
