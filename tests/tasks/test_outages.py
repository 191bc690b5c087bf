"""When workers that do not beat may be taken for dead."""

from __future__ import annotations

import pytest

from app.tasks import outages
from app.tasks.outages import Outages


class Clock:
    """Both clocks of `time`, in seconds; a stall is seen on them as any other time that has passed."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def time(self) -> float:
        return self.seconds

    monotonic = time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(outages, "time", clock)
    return clock


@pytest.fixture
def found(clock: Clock) -> Outages:
    return Outages()


def pass_time(found: Outages, clock: Clock, seconds: int) -> None:
    """With a round of the supervisor each second."""
    for _ in range(seconds):
        clock.seconds += 1
        found.round_begins()


def test_a_start_is_an_outage(found: Outages, clock: Clock) -> None:
    assert not found.are_over()
    pass_time(found, clock, 7)
    assert found.are_over()


def test_a_worker_that_replaces_a_dead_one_does_not_wait(found: Outages, clock: Clock) -> None:
    """It is forked long after the start; the others have beaten meanwhile."""
    clock.seconds += 60
    assert found.are_over()
    found.round_begins()
    assert found.are_over()


def test_workers_have_time_to_beat_after_a_failure_of_the_store(found: Outages, clock: Clock) -> None:
    pass_time(found, clock, 7)
    found.store_failed()
    pass_time(found, clock, 5)
    assert not found.are_over()
    pass_time(found, clock, 2)
    assert found.are_over()


def test_workers_have_time_to_beat_after_a_stall(found: Outages, clock: Clock) -> None:
    pass_time(found, clock, 7)
    clock.seconds += 60
    assert not found.are_over()  # maintenance may look before the supervisor does
    pass_time(found, clock, 5)
    assert not found.are_over()
    pass_time(found, clock, 3)
    assert found.are_over()
