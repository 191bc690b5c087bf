"""The memory of an in-process store is bounded."""

from __future__ import annotations

import pytest

from app.limits.memory_store import PURGE_SECONDS, MemoryStore
from tests.limits.test_store import both, requests


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_counters_of_idle_keys_are_dropped(clock: Clock) -> None:
    store = MemoryStore(clock)
    for number in range(1000):
        assert store.acquire(both(f"key {number}", 5, 5, 2)).admitted
    assert len(store._counters) == 2000
    clock.seconds += 60 + PURGE_SECONDS
    assert store.acquire(requests("another", 5)).admitted
    assert len(store._counters) == 1


def test_purge_keeps_what_is_still_in_the_window(clock: Clock) -> None:
    store = MemoryStore(clock)
    clock.seconds += PURGE_SECONDS - 1
    assert store.acquire(requests("key", 1)).admitted
    clock.seconds += 2
    assert not store.acquire(requests("key", 1)).admitted
    clock.seconds += 59
    assert store.acquire(requests("key", 1)).admitted


def test_rejected_calls_use_no_memory(clock: Clock) -> None:
    store = MemoryStore(clock)
    for number in range(1000):
        assert not store.acquire(requests(f"key {number}", 0)).admitted
    assert store._counters == {}


def test_released_calls_use_no_memory(clock: Clock) -> None:
    store = MemoryStore(clock)
    call = both("key", 5, 5, 1, max_calls=1)
    assert store.acquire(call).admitted
    store.release(call)
    assert store._calls == {}
