"""What both kinds of counters keep: N a minute, all limits or none, calls in flight, and honest times."""

from __future__ import annotations

import threading
import time

import pytest

from app.limits.store import LimitDecision, LimitRequest, RateLimit, RateLimitStore
from tests.limits.conftest import MakeCounters

THREADS = 100


def requests(key: str, limit: int) -> LimitRequest:
    return LimitRequest(key, (RateLimit("requests", limit, 1),))


def images(key: str, limit: int, cost: int) -> LimitRequest:
    return LimitRequest(key, (RateLimit("images", limit, cost),))


def both(key: str, rpm: int, ipm: int, cost: int, max_calls: int | None = None) -> LimitRequest:
    return LimitRequest(key, (RateLimit("requests", rpm, 1), RateLimit("images", ipm, cost)), max_calls)


def used(verdict: LimitDecision) -> list[int]:
    return [window.used for window in verdict.windows]


def at_once(counters: RateLimitStore, calls: list[LimitRequest]) -> list[LimitRequest]:
    """Those of `calls` that were let in, all of them having come at the same time."""
    begin = threading.Barrier(len(calls))
    admitted = []

    def acquire(call: LimitRequest) -> None:
        begin.wait()
        if counters.acquire(call).admitted:
            admitted.append(call)

    threads = [threading.Thread(target=acquire, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return admitted


def test_exactly_n_requests_a_minute(counters: RateLimitStore, key: str) -> None:
    verdicts = [counters.acquire(requests(key, 3)) for _ in range(5)]
    assert [verdict.admitted for verdict in verdicts] == [True, True, True, False, False]
    assert [used(verdict) for verdict in verdicts] == [[1], [2], [3], [3], [3]]


def test_n_pictures_count_n(counters: RateLimitStore, key: str) -> None:
    costs = [4, 4, 3, 2, 1, 1]
    assert [counters.acquire(images(key, 10, cost)).admitted for cost in costs] == [
        True,
        True,
        False,
        True,
        False,
        False,
    ]


def test_what_one_limit_refuses_does_not_count_against_another(counters: RateLimitStore, key: str) -> None:
    assert counters.acquire(both(key, rpm=3, ipm=4, cost=4, max_calls=5)).admitted
    for _ in range(5):
        refused = counters.acquire(both(key, rpm=3, ipm=4, cost=1, max_calls=5))
        assert (refused.admitted, used(refused)) == (False, [1, 4])
    assert counters.acquire(requests(key, 3)).admitted
    full = both(key, rpm=3, ipm=4, cost=1, max_calls=1)
    assert counters.acquire(full).calls_full
    assert used(counters.acquire(requests(key, 3))) == [3]


def test_keys_do_not_share(counters: RateLimitStore, key: str) -> None:
    assert counters.acquire(requests(key, 1)).admitted
    assert not counters.acquire(requests(key, 1)).admitted
    assert counters.acquire(requests(key + "b", 1)).admitted


@pytest.mark.parametrize(("limit", "cost"), [(0, 1), (3, 4), (3, 9)])
def test_more_than_the_limit_is_never_let_in_and_counts_nothing(
    counters: RateLimitStore, key: str, limit: int, cost: int
) -> None:
    refused = counters.acquire(images(key, limit, cost))
    assert (refused.admitted, used(refused), refused.windows[0].wait) == (False, [0], 60)


def test_a_window_lets_in_again_when_it_said_so(make_counters: MakeCounters, key: str) -> None:
    counters = make_counters(window_seconds=1)
    while not (refused := counters.acquire(requests(key, 2))).windows[0].wait:
        pass
    time.sleep(refused.windows[0].wait + 0.01)
    assert counters.acquire(requests(key, 2)).admitted


def test_a_window_is_whole_again_when_it_said_so(make_counters: MakeCounters, key: str) -> None:
    counters = make_counters(window_seconds=1)
    verdict = counters.acquire(images(key, 9, 9))
    assert verdict.windows[0].reset == 1
    time.sleep(1.01)
    again = counters.acquire(images(key, 9, 9))
    assert (again.admitted, used(again)) == (True, [9])


def test_more_pictures_wait_longer(counters: RateLimitStore, key: str) -> None:
    """Each waits for as many to leave as it needs room."""
    waits = []
    for cost in (1, 1, 1):
        assert counters.acquire(images(key, 3, cost)).admitted
        time.sleep(0.01)
    for cost in (1, 2, 3):
        window = counters.acquire(images(key, 3, cost)).windows[0]
        assert window.wait is not None
        waits.append(window.wait)
    assert 0 < waits[0] < waits[1] < waits[2] <= 60
    assert window.reset == waits[2]


def test_calls_in_flight_come_back(counters: RateLimitStore, key: str) -> None:
    calls = [LimitRequest(key, max_calls=2) for _ in range(3)]
    assert [counters.acquire(call).admitted for call in calls] == [True, True, False]
    counters.release(calls[2])  # it was never in flight
    assert not counters.acquire(calls[2]).admitted
    counters.release(calls[0])
    counters.release(calls[0])
    assert counters.acquire(calls[2]).admitted
    assert not counters.acquire(calls[0]).admitted


@pytest.mark.parametrize("limit", [1, 10, 37])
def test_a_hundred_at_once_never_get_more_than_the_limit(counters: RateLimitStore, key: str, limit: int) -> None:
    assert len(at_once(counters, [requests(key, limit) for _ in range(THREADS)])) == limit


def test_a_hundred_at_once_under_several_limits_use_up_the_tightest_and_no_more(
    counters: RateLimitStore, key: str
) -> None:
    admitted = at_once(counters, [both(key, rpm=90, ipm=61, cost=3, max_calls=80) for _ in range(THREADS)])
    assert len(admitted) == 20
    assert used(counters.acquire(both(key, rpm=90, ipm=61, cost=2, max_calls=80))) == [20, 60]


def test_a_hundred_at_once_and_calls_in_flight(counters: RateLimitStore, key: str) -> None:
    for _ in range(3):
        admitted = at_once(counters, [LimitRequest(key, max_calls=7) for _ in range(THREADS)])
        assert len(admitted) == 7
        for call in admitted:
            counters.release(call)
