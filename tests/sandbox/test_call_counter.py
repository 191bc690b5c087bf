"""The sandbox's counter: a sliding window for each key, by an injected clock."""

from __future__ import annotations

import random
import threading
import time

import pytest

from app.sandbox.call_counter import CallCounter


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_key_begins_so_many_calls_in_a_window(clock: Clock) -> None:
    counter = CallCounter(2, clock=clock)
    begun = []
    for moment in (0, 30, 59.9, 60, 60.1, 89.9, 90, 119.9, 120):
        clock.now = 1000 + moment
        begun.append((moment, counter.begin("a")))
    assert [moment for moment, allowed in begun if allowed] == [0, 30, 60, 90, 120]


def test_a_rejected_call_is_not_counted(clock: Clock) -> None:
    counter = CallCounter(1, clock=clock)
    assert counter.begin("a")
    for moment in range(1, 60):
        clock.now = 1000 + moment
        assert not counter.begin("a")
    clock.now = 1060
    assert counter.begin("a")


def test_each_key_is_counted_by_itself(clock: Clock) -> None:
    counter = CallCounter(1, clock=clock)
    assert [counter.begin(key) for key in ("a", "b", "a", "b", "c")] == [True, True, False, False, True]


def test_without_a_limit_nothing_is_counted(clock: Clock) -> None:
    counter = CallCounter(0, clock=clock)
    assert all(counter.begin("a") for _ in range(1000))


def test_no_window_has_more_than_the_limit(clock: Clock) -> None:
    """Whatever the times of the calls are; and a call is rejected only if the window before it is full."""
    chance = random.Random(10)
    counter = CallCounter(5, window_seconds=10, clock=clock)
    starts: list[float] = []
    for _ in range(2000):
        clock.now += chance.choice((0, 0.1, 1, 4))
        recent = [start for start in starts if start > clock.now - 10]
        assert counter.begin("a") == (len(recent) < 5)
        if len(recent) < 5:
            starts.append(clock.now)
    assert len(starts) > 100


def test_concurrent_calls_are_each_counted() -> None:
    counter, allowed = CallCounter(100), []

    def call() -> None:
        for _ in range(50):
            allowed.append(counter.begin("a"))
            time.sleep(0)

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(allowed), sum(allowed)) == (400, 100)
