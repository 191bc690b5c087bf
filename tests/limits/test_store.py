"""What both stores promise: N units in any window, all limits or none, calls in flight, and exact times."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from app.accounts.key_limits import RATE_LIMITS, RateLimit
from app.limits.store import LimitDecision, LimitRequest, RateCheck, RateLimitStore

THREADS = 100
RATES = {rate.name: rate for rate in RATE_LIMITS}
REQUESTS, IMAGES = RATES["requests_per_minute"], RATES["images_per_minute"]
SHORT_REQUESTS, SHORT_IMAGES = replace(REQUESTS, window_seconds=1), replace(IMAGES, window_seconds=1)


def requests(key: str, limit: int, rate: RateLimit = REQUESTS) -> LimitRequest:
    return LimitRequest(key, (RateCheck(rate, limit, 1),))


def images(key: str, limit: int, cost: int, rate: RateLimit = IMAGES) -> LimitRequest:
    return LimitRequest(key, (RateCheck(rate, limit, cost),))


def both(key: str, rpm: int, ipm: int, cost: int, max_calls: int | None = None) -> LimitRequest:
    return LimitRequest(key, (RateCheck(REQUESTS, rpm, 1), RateCheck(IMAGES, ipm, cost)), max_calls)


def used(decision: LimitDecision) -> list[int]:
    return [window.used for window in decision.windows]


def at_once(store: RateLimitStore, calls: list[LimitRequest]) -> list[LimitRequest]:
    """The calls that are admitted when all of `calls` arrive at the same time."""
    begin = threading.Barrier(len(calls))
    admitted = []

    def acquire(call: LimitRequest) -> None:
        begin.wait()
        if store.acquire(call).admitted:
            admitted.append(call)

    threads = [threading.Thread(target=acquire, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return admitted


def test_exactly_n_requests_a_minute(store: RateLimitStore, key: str) -> None:
    decisions = [store.acquire(requests(key, 3)) for _ in range(5)]
    assert [decision.admitted for decision in decisions] == [True, True, True, False, False]
    assert [used(decision) for decision in decisions] == [[1], [2], [3], [3], [3]]


def test_n_images_cost_n(store: RateLimitStore, key: str) -> None:
    costs = [4, 4, 3, 2, 1, 1]
    assert [store.acquire(images(key, 10, cost)).admitted for cost in costs] == [
        True,
        True,
        False,
        True,
        False,
        False,
    ]


def test_rejected_call_counts_against_no_limit(store: RateLimitStore, key: str) -> None:
    assert store.acquire(both(key, rpm=3, ipm=4, cost=4, max_calls=5)).admitted
    for _ in range(5):
        rejected = store.acquire(both(key, rpm=3, ipm=4, cost=1, max_calls=5))
        assert (rejected.admitted, used(rejected)) == (False, [1, 4])
    assert store.acquire(requests(key, 3)).admitted
    full = both(key, rpm=3, ipm=4, cost=1, max_calls=1)
    assert store.acquire(full).calls_full
    assert used(store.acquire(requests(key, 3))) == [3]


def test_reading_counts_nothing(store: RateLimitStore, key: str) -> None:
    call = both(key, rpm=3, ipm=4, cost=1, max_calls=2)
    for _ in range(5):
        state = store.read(call)
        assert ([window.used for window in state.windows], state.in_flight) == ([0, 0], 0)
    assert store.acquire(call).admitted
    state = store.read(both(key, rpm=3, ipm=4, cost=1, max_calls=2))
    assert ([window.used for window in state.windows], state.in_flight) == ([1, 1], 1)
    store.release(call)
    assert store.read(call).in_flight == 0


def test_keys_do_not_share_a_window(store: RateLimitStore, key: str) -> None:
    assert store.acquire(requests(key, 1)).admitted
    assert not store.acquire(requests(key, 1)).admitted
    assert store.acquire(requests(key + "b", 1)).admitted


@pytest.mark.parametrize(("limit", "cost"), [(0, 1), (3, 4), (3, 9)])
def test_cost_above_the_limit_is_never_admitted_and_counts_nothing(
    store: RateLimitStore, key: str, limit: int, cost: int
) -> None:
    rejected = store.acquire(images(key, limit, cost))
    assert (rejected.admitted, used(rejected), rejected.windows[0].wait) == (False, [0], 60)


def test_call_is_admitted_after_the_wait(store: RateLimitStore, key: str) -> None:
    while not (rejected := store.acquire(requests(key, 2, SHORT_REQUESTS))).windows[0].wait:
        pass
    time.sleep(rejected.windows[0].wait + 0.01)
    assert store.acquire(requests(key, 2, SHORT_REQUESTS)).admitted


def test_window_is_empty_after_the_reset(store: RateLimitStore, key: str) -> None:
    decision = store.acquire(images(key, 9, 9, SHORT_IMAGES))
    assert decision.windows[0].reset == 1
    time.sleep(1.01)
    again = store.acquire(images(key, 9, 9, SHORT_IMAGES))
    assert (again.admitted, used(again)) == (True, [9])


def test_each_limit_has_its_own_window(store: RateLimitStore, key: str) -> None:
    """Two limits on the same unit: the short window is empty again while the day's is not."""
    daily = replace(IMAGES, name="images_per_day", window_seconds=86_400)
    call = LimitRequest(key, (RateCheck(SHORT_IMAGES, 2, 2), RateCheck(daily, 3, 2)))
    first = store.acquire(call)
    assert (used(first), [window.reset for window in first.windows]) == ([2, 2], [1, 86_400])
    time.sleep(1.01)
    second = store.acquire(call)
    assert (second.admitted, used(second), second.windows[0].wait) == (False, [0, 2], None)
    assert second.windows[1].wait == pytest.approx(86_400, abs=30)
    assert store.acquire(replace(call, checks=(RateCheck(SHORT_IMAGES, 2, 1), RateCheck(daily, 3, 1)))).admitted


def test_wait_grows_with_the_cost(store: RateLimitStore, key: str) -> None:
    """A call waits until as many units have left the window as it needs."""
    waits = []
    for cost in (1, 1, 1):
        assert store.acquire(images(key, 3, cost)).admitted
        time.sleep(0.01)
    for cost in (1, 2, 3):
        window = store.acquire(images(key, 3, cost)).windows[0]
        assert window.wait is not None
        waits.append(window.wait)
    assert 0 < waits[0] < waits[1] < waits[2] <= 60
    assert window.reset == waits[2]


def test_released_calls_are_no_longer_in_flight(store: RateLimitStore, key: str) -> None:
    calls = [LimitRequest(key, max_calls=2) for _ in range(3)]
    assert [store.acquire(call).admitted for call in calls] == [True, True, False]
    store.release(calls[2])  # it was never in flight
    assert not store.acquire(calls[2]).admitted
    store.release(calls[0])
    store.release(calls[0])
    assert store.acquire(calls[2]).admitted
    assert not store.acquire(calls[0]).admitted


@pytest.mark.parametrize("limit", [1, 10, 37])
def test_concurrent_calls_never_exceed_the_limit(store: RateLimitStore, key: str, limit: int) -> None:
    assert len(at_once(store, [requests(key, limit) for _ in range(THREADS)])) == limit


def test_concurrent_calls_under_several_limits_use_up_the_tightest(store: RateLimitStore, key: str) -> None:
    admitted = at_once(store, [both(key, rpm=90, ipm=61, cost=3, max_calls=80) for _ in range(THREADS)])
    assert len(admitted) == 20
    assert used(store.acquire(both(key, rpm=90, ipm=61, cost=2, max_calls=80))) == [20, 60]


def test_concurrent_calls_never_exceed_max_calls(store: RateLimitStore, key: str) -> None:
    for _ in range(3):
        admitted = at_once(store, [LimitRequest(key, max_calls=7) for _ in range(THREADS)])
        assert len(admitted) == 7
        for call in admitted:
            store.release(call)
