"""Pure functions of pacing: the choice of a key, and the times of the next turns."""

from __future__ import annotations

from itertools import islice
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.pacing.schedule import MIN_POLL_SECONDS, POLL_SECONDS, KeyLoad, choose, next_look, seconds_until_turn

NOW, WINDOW = 1000.0, 60.0


def key(name: str = "a", rate: int = 2, *ages: float, rests: float = 0.0, failed: bool = False) -> KeyLoad:
    """A key whose calls began `ages` seconds ago, and that rests for `rests` more seconds."""
    starts = sorted(NOW - age for age in ages)
    return KeyLoad(name, rate, starts, NOW + rests if rests else 0.0, failed=failed)


@pytest.mark.parametrize(
    ("keys", "excluded", "chosen"),
    [
        ([], (), None),
        ([key("a", 2, 1, 1)], (), None),
        ([key("a", 2, 1)], (), "a"),
        ([key("a", 2, 1), key("b", 2)], (), "b"),
        ([key("a", 2, 1), key("b", 10, 1, 1, 1)], (), "b"),
        ([key("a", 0), key("b", 2, 1)], (), "a"),
        ([key("a", 2), key("b", 2)], (), "a"),
        ([key("a", 2), key("b", 2)], ("a",), "b"),
        ([key("a", 2), key("b", 2, 1, 1)], ("a",), None),
        ([key("a", 2, rests=1), key("b", 2, 1)], (), "b"),
        ([key("a", 0, rests=1)], (), None),
    ],
)
def test_choose(keys: list[KeyLoad], excluded: tuple[str, ...], chosen: str | None) -> None:
    found = choose(keys, NOW, excluded)
    assert (found.fingerprint if found else None) == chosen


@pytest.mark.parametrize(
    ("keys", "position", "seconds"),
    [
        ([key("a", 2)], 0, 0),
        ([key("a", 2)], 1, 0),
        ([key("a", 2)], 2, 60),
        ([key("a", 2)], 5, 120),
        ([key("a", 2, 50, 20)], 0, 10),
        ([key("a", 2, 50, 20)], 1, 40),
        ([key("a", 2, 50, 20)], 2, 70),
        ([key("a", 2, 50, 20), key("b", 1, 30)], 1, 30),
        ([key("a", 0)], 999, 0),
        ([key("a", 0, rests=7)], 999, 7),
        ([key("a", 2, rests=7)], 1, 7),
        ([key("a", 2, 50, rests=20)], 1, 20),
        ([key("a", 2, rests=7)], 2, 67),
        # A key that rests for an hour does not count in the hour.
        ([key("a", 2), key("b", 2, rests=3600, failed=True)], 3, 60),
        ([key("a", 2), key("b", 2, rests=3600)], 7, 180),
        ([key("a", 2, rests=300, failed=True)], 0, None),
        ([key("a", 2, rests=300, failed=True), key("b", 2, rests=600, failed=True)], 0, None),
        ([key("a", 2, rests=300, failed=True), key("b", 2, rests=20)], 0, 20),
        ([key("a", 2, failed=True)], 0, 0),  # its rest is over
        ([], 0, None),
    ],
)
def test_seconds_until_turn(keys: list[KeyLoad], position: int, seconds: float | None) -> None:
    assert seconds_until_turn(keys, NOW, WINDOW, position) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("keys", "seconds"),
    [
        ([key("a", 2)], MIN_POLL_SECONDS),
        ([key("a", 1, 59.9)], 0.1),
        ([key("a", 1, 10)], POLL_SECONDS),
        ([key("a", 1, rests=300, failed=True)], None),
    ],
)
def test_next_look(keys: list[KeyLoad], seconds: float | None) -> None:
    assert next_look(keys, NOW, WINDOW) == pytest.approx(seconds)


@st.composite
def loads(draw: st.DrawFn, *, unlimited: bool = True) -> KeyLoad:
    """A key that has never been above its rate."""
    rate = draw(st.integers(0 if unlimited else 1, 6))
    # Windows before now, the newest call last; each `rate` of them take a window.
    gaps = draw(st.lists(st.floats(0, WINDOW), max_size=rate))
    starts, at = [], NOW
    for gap in gaps:
        at -= gap
        starts.append(at)
    within = sorted(start for start in starts if start + WINDOW > NOW)
    rests = draw(st.sampled_from([0.0, 0.0, 5.0, 61.0, 3600.0]))
    return KeyLoad(draw(st.text("abc", min_size=1)), rate, within, NOW + rests if rests else 0.0)


@given(loads(unlimited=False), st.integers(1, 40))
def test_free_times_never_exceed_the_rate_in_any_window(load: KeyLoad, count: int) -> None:
    times = [*load.starts, *islice(load.free_times(NOW, WINDOW), count)]
    assert times == sorted(times)
    for first, beyond in zip(times, times[load.rate :], strict=False):
        assert beyond >= first + WINDOW


@given(loads(unlimited=False), st.integers(1, 40))
def test_free_times_waste_no_turn(load: KeyLoad, count: int) -> None:
    """A call begins as soon as the key is awake and the one `rate` calls before it has left the window."""
    times = [*load.starts, *islice(load.free_times(NOW, WINDOW), count)]
    for number in range(len(load.starts), len(times)):
        before = times[number - load.rate] + WINDOW if number >= load.rate else -inf
        assert times[number] == max(NOW, load.rests_until, before)


@given(st.lists(loads(), min_size=1, max_size=4), st.integers(0, 60))
def test_a_later_place_in_the_queue_never_has_an_earlier_turn(keys: list[KeyLoad], position: int) -> None:
    here, behind = (seconds_until_turn(keys, NOW, WINDOW, place) for place in (position, position + 1))
    assert here is not None
    assert behind is not None
    assert 0 <= here <= behind


@given(st.lists(loads(), min_size=1, max_size=4), loads(), st.integers(0, 60))
def test_another_key_never_delays_a_turn(keys: list[KeyLoad], more: KeyLoad, position: int) -> None:
    few, many = (seconds_until_turn(pool, NOW, WINDOW, position) for pool in (keys, [*keys, more]))
    assert few is not None
    assert many is not None
    assert many <= few
