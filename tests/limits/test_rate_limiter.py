"""What a caller is told, and that its calls are given back whatever happens to them."""

from __future__ import annotations

import re

import pytest

from app.accounts.api_key import Caller
from app.accounts.rate_limiter import RateLimiter
from app.accounts.receipt import Receipt
from app.errors import RateLimited
from app.limits import responses
from app.limits.memory_store import MemoryStore
from app.limits.rate_limiter import KeyRateLimiter, create_rate_limiter
from app.limits.store import LimitDecision, LimitRequest, RateLimit, WindowStats


def acquire(limiter: RateLimiter, caller: Caller, images: int = 1) -> dict[str, str]:
    """A whole call; the headers of its answer."""
    receipt = Receipt()
    with limiter.acquire(caller, images, receipt):
        return receipt.headers()


def refused(limiter: RateLimiter, caller: Caller, images: int = 1) -> tuple[RateLimited, dict[str, str]]:
    receipt = Receipt()
    with pytest.raises(RateLimited) as caught, limiter.acquire(caller, images, receipt):
        raise AssertionError("admitted")
    return caught.value, receipt.headers()


def test_a_caller_without_limits_is_told_nothing_and_counted_nowhere() -> None:
    class Nobody(MemoryStore):
        def acquire(self, call: LimitRequest) -> LimitDecision:
            raise AssertionError("counted")

    assert acquire(KeyRateLimiter(Nobody()), Caller("k")) == {}


def test_an_admitted_call_is_told_what_is_left(limiter: KeyRateLimiter, key: str) -> None:
    caller = Caller(key, requests_per_minute=10, images_per_minute=20, max_calls=3)
    assert acquire(limiter, caller, 4) == {
        "x-ratelimit-limit-requests": "10",
        "x-ratelimit-remaining-requests": "9",
        "x-ratelimit-reset-requests": "1m0s",
        "x-ratelimit-limit-images": "20",
        "x-ratelimit-remaining-images": "16",
        "x-ratelimit-reset-images": "1m0s",
    }


def test_only_what_is_limited_is_told(limiter: KeyRateLimiter, key: str) -> None:
    assert set(acquire(limiter, Caller(key, images_per_minute=5))) == {
        "x-ratelimit-limit-images",
        "x-ratelimit-remaining-images",
        "x-ratelimit-reset-images",
    }


def test_a_refused_call_is_told_why_and_when(limiter: KeyRateLimiter, key: str) -> None:
    caller = Caller(key, requests_per_minute=2, images_per_minute=9)
    for _ in range(2):
        acquire(limiter, caller)
    error, headers = refused(limiter, caller)
    assert (error.http_status, error.code, error.headers()["x-should-retry"]) == (429, "rate_limit_exceeded", "true")
    assert re.fullmatch(r"This API key may make 2 requests a minute: try again in (\d+) s\.", error.message), (
        error.message
    )
    assert error.retry_after is not None
    assert 1 <= error.retry_after <= 60
    assert error.headers()["Retry-After"] == str(error.retry_after)
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert headers["x-ratelimit-remaining-images"] == "7"
    assert re.fullmatch(r"\d+s|1m0s", headers["x-ratelimit-reset-requests"])


def test_what_can_never_be_let_in_is_not_to_be_tried_again(limiter: KeyRateLimiter, key: str) -> None:
    caller = Caller(key, requests_per_minute=2, images_per_minute=3)
    error, headers = refused(limiter, caller, 5)
    assert error.message == ("This API key may ask for 3 pictures a minute, so a request for 5 is never let in.")
    assert (error.http_status, error.headers()) == (429, {"x-should-retry": "false"})
    assert headers["x-ratelimit-remaining-requests"] == "2"
    assert headers["x-ratelimit-remaining-images"] == "3"
    assert headers["x-ratelimit-reset-images"] == "0s"


@pytest.mark.parametrize(
    ("caller", "message"),
    [
        (Caller("k", images_per_minute=0), "This API key may ask for 0 pictures a minute, so none is ever let in."),
        (Caller("k", requests_per_minute=0), "This API key may make 0 requests a minute, so none is ever let in."),
        (Caller("k", max_calls=0), "This API key may have 0 calls in flight, so none is ever let in."),
    ],
)
def test_a_limit_of_nothing(caller: Caller, message: str) -> None:
    error, _ = refused(KeyRateLimiter(MemoryStore()), caller)
    assert (error.message, error.should_retry) == (message, False)


def test_calls_in_flight_are_refused_while_the_first_lasts(limiter: KeyRateLimiter, key: str) -> None:
    caller = Caller(key, requests_per_minute=9, max_calls=1)
    with limiter.acquire(caller, 1, Receipt()):
        error, headers = refused(limiter, caller)
        assert error.message == "This API key may have 1 call in flight: try again in 5 s."
        assert headers["x-ratelimit-remaining-requests"] == "8"
    acquire(limiter, caller)


@pytest.mark.parametrize("raised", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_a_call_is_given_back_after_any_exception(
    limiter: KeyRateLimiter, key: str, raised: type[BaseException]
) -> None:
    caller = Caller(key, max_calls=1)
    for _ in range(3):
        with pytest.raises(raised), limiter.acquire(caller, 1, Receipt()):
            raise raised
    acquire(limiter, caller)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.001, "1s"), (1, "1s"), (58.2, "59s"), (60, "1m0s"), (61.5, "1m2s"), (360, "6m0s")],
)
def test_durations_are_openais(seconds: float, text: str) -> None:
    assert responses.duration(seconds) == text


@pytest.mark.parametrize(
    ("requests_wait", "images_wait", "calls_full", "message", "retry_after"),
    [
        (0.0001, None, False, "This API key may make 1 request a minute: try again in 1 s.", 1),
        (12.1, 30.0, False, "This API key may ask for 9 pictures a minute: try again in 30 s.", 30),
        (60.0004, 30.0, False, "This API key may make 1 request a minute: try again in 60 s.", 60),
        (None, 3.0, True, "This API key may have 2 calls in flight: try again in 5 s.", 5),
    ],
)
def test_of_several_limits_the_one_that_takes_longest_is_named(
    requests_wait: float | None, images_wait: float | None, calls_full: bool, message: str, retry_after: int
) -> None:
    rates = (RateLimit("requests", 1, 1), RateLimit("images", 9, 1))
    windows = (WindowStats(rates[0], 1, 60, requests_wait), WindowStats(rates[1], 9, 60, images_wait))
    error = responses.rate_limit_error(LimitRequest("k", rates, 2), LimitDecision(windows, calls_full))
    assert (error.message, error.retry_after, error.should_retry) == (message, retry_after, True)


def test_without_redis_the_process_counts_for_itself() -> None:
    limiter: RateLimiter = create_rate_limiter(None, 200)
    caller = Caller("k", requests_per_minute=1)
    acquire(limiter, caller)
    refused(limiter, caller)


def test_a_url_of_another_kind_is_told_at_the_start() -> None:
    with pytest.raises(ValueError, match="scheme"):
        create_rate_limiter("http://127.0.0.1:6379", 200)
