"""Failover: an instance paces alone while Redis is unavailable, and nobody who waits is lost at either change."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from app.pacing.failover_store import FailoverStore
from app.pacing.redis_store import RedisStore
from app.pacing.sqlite_store import SqliteStore
from app.pacing.store import Grant, KeyRate, Wait
from app.pacing.turn_queue import TurnQueue
from tests.support.redis_server import RedisServer, needs_redis

pytestmark = needs_redis
WINDOW, RETRY_SECONDS = 0.5, 0.4
KEYS = [KeyRate("key-0", 4)]


@pytest.fixture
def store(own_redis: RedisServer, tmp_path: Path) -> Iterator[FailoverStore]:
    own = SqliteStore(tmp_path / "pacing.db", window_seconds=WINDOW)
    own.create(KEYS)
    shared = RedisStore(own_redis.url, KEYS, window_seconds=WINDOW)
    with closing(FailoverStore(shared, own, RETRY_SECONDS)) as failover:
        yield failover


class Callers:
    """Calls that wait for a turn, each in a thread."""

    def __init__(self, queue: TurnQueue) -> None:
        self._queue = queue
        self._threads: list[threading.Thread] = []
        self.found: list[Grant | Wait] = []

    def start(self, count: int) -> None:
        for number in range(count):
            thread = threading.Thread(target=self._wait, args=(f"caller-{number}",))
            self._threads.append(thread)
            thread.start()

    def _wait(self, caller: str) -> None:
        self.found.append(self._queue.wait_for_turn(caller, 20))

    def join(self) -> list[Grant | Wait]:
        for thread in self._threads:
            thread.join()
        return self.found


@pytest.mark.parametrize("known_to_the_other", [False, True])
def test_who_waits_is_served_although_redis_is_lost_and_comes_back(
    store: FailoverStore, own_redis: RedisServer, known_to_the_other: bool
) -> None:
    """New calls make the worker known to the other store before its turns are taken there."""
    callers = Callers(TurnQueue(store, 1000))
    for number in range(2):
        callers.start(14)
        time.sleep(WINDOW / 2)
        own_redis.kill() if number == 0 else own_redis.start()
        if known_to_the_other:
            callers.start(4)
    found = callers.join()
    assert len(found) == (36 if known_to_the_other else 28)
    assert all(isinstance(one, Grant) for one in found)


def test_a_store_that_fails_while_turns_are_given_back_does_not_end_the_queue(
    store: FailoverStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    queue = TurnQueue(store, 1000)
    take, faults = store.take, iter(range(2))

    def take_or_fail(worker: str) -> object:
        if next(faults, None) is not None:
            raise RuntimeError("a bug in the store")
        return take(worker)

    monkeypatch.setattr(store, "take", take_or_fail)
    callers = Callers(queue)
    callers.start(6)
    assert all(isinstance(one, Grant) for one in callers.join())
    assert "Turns not given" in caplog.text
