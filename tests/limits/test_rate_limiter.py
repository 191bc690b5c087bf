"""Headers and errors of a limited call, and its release whatever becomes of it."""

from __future__ import annotations

import re

import pytest

from app.accounts.api_key import Caller
from app.accounts.key_limits import KeyLimits
from app.accounts.rate_limiter import RateLimiter
from app.accounts.receipt import Receipt
from app.errors import RateLimited
from app.limits import responses
from app.limits.memory_store import MemoryStore
from app.limits.rate_limiter import KeyRateLimiter, create_rate_limiter
from app.limits.store import LimitDecision, LimitRequest, RateCheck, WindowStats
from tests.limits.test_store import IMAGES, REQUESTS


class UnusedStore(MemoryStore):
    def acquire(self, call: LimitRequest) -> LimitDecision:
        raise AssertionError("counted")


def acquire(limiter: RateLimiter, caller: Caller, images: int = 1) -> dict[str, str]:
    """Make a whole call; returns the headers of its response."""
    receipt = Receipt()
    with limiter.acquire(caller, images, receipt):
        return receipt.headers()


def rejected(limiter: RateLimiter, caller: Caller, images: int = 1) -> tuple[RateLimited, dict[str, str]]:
    receipt = Receipt()
    with pytest.raises(RateLimited) as caught, limiter.acquire(caller, images, receipt):
        raise AssertionError("admitted")
    return caught.value, receipt.headers()


def test_caller_without_limits_gets_no_headers_and_is_not_counted() -> None:
    assert acquire(KeyRateLimiter(UnusedStore()), Caller("k")) == {}


def test_headers_of_an_admitted_call(limiter: KeyRateLimiter, key: str) -> None:
    caller = Caller(key, limits=KeyLimits(requests_per_minute=10, images_per_minute=20, max_calls=3))
    assert acquire(limiter, caller, 4) == {
        "x-ratelimit-limit-requests": "10",
        "x-ratelimit-remaining-requests": "9",
        "x-ratelimit-reset-requests": "1m0s",
        "x-ratelimit-limit-images": "20",
        "x-ratelimit-remaining-images": "16",
        "x-ratelimit-reset-images": "1m0s",
    }


def test_only_limits_that_are_set_have_headers(limiter: KeyRateLimiter, key: str) -> None:
    assert set(acquire(limiter, Caller(key, limits=KeyLimits(images_per_minute=5)))) == {
        "x-ratelimit-limit-images",
        "x-ratelimit-remaining-images",
        "x-ratelimit-reset-images",
    }


def test_error_and_headers_of_a_rejected_call(limiter: KeyRateLimiter, key: str) -> None:
    caller = Caller(key, limits=KeyLimits(requests_per_minute=2, images_per_minute=9))
    for _ in range(2):
        acquire(limiter, caller)
    error, headers = rejected(limiter, caller)
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


def test_request_that_exceeds_the_limit_is_not_to_be_retried(limiter: KeyRateLimiter, key: str) -> None:
    caller = Caller(key, limits=KeyLimits(requests_per_minute=2, images_per_minute=3))
    error, headers = rejected(limiter, caller, 5)
    assert error.message == ("This API key may ask for 3 images a minute, so a request for 5 is never admitted.")
    assert (error.http_status, error.headers()) == (429, {"x-should-retry": "false"})
    assert headers["x-ratelimit-remaining-requests"] == "2"
    assert headers["x-ratelimit-remaining-images"] == "3"
    assert headers["x-ratelimit-reset-images"] == "0s"


@pytest.mark.parametrize(
    ("caller", "message"),
    [
        (
            Caller("k", limits=KeyLimits(images_per_minute=0)),
            "This API key may ask for 0 images a minute, so none is ever admitted.",
        ),
        (
            Caller("k", limits=KeyLimits(requests_per_minute=0)),
            "This API key may make 0 requests a minute, so none is ever admitted.",
        ),
        (
            Caller("k", limits=KeyLimits(max_calls=0)),
            "This API key may have 0 calls in flight, so none is ever admitted.",
        ),
    ],
)
def test_limit_of_zero(caller: Caller, message: str) -> None:
    error, _ = rejected(KeyRateLimiter(MemoryStore()), caller)
    assert (error.message, error.should_retry) == (message, False)


def test_call_above_max_calls_is_rejected_until_another_ends(limiter: KeyRateLimiter, key: str) -> None:
    caller = Caller(key, limits=KeyLimits(requests_per_minute=9, max_calls=1))
    with limiter.acquire(caller, 1, Receipt()):
        error, headers = rejected(limiter, caller)
        assert error.message == "This API key may have 1 call in flight: try again in 5 s."
        assert headers["x-ratelimit-remaining-requests"] == "8"
    acquire(limiter, caller)


def test_replay_counts_as_a_request_and_nothing_else(limiter: KeyRateLimiter, key: str) -> None:
    caller = Caller(key, limits=KeyLimits(requests_per_minute=3, images_per_minute=1, max_calls=1))
    with limiter.acquire(caller, 1, Receipt()):  # no image and no call is left
        for remaining in ("1", "0"):
            receipt = Receipt()
            limiter.count(caller, receipt)
            assert receipt.headers()["x-ratelimit-remaining-requests"] == remaining
            assert "x-ratelimit-limit-images" not in receipt.headers()
        with pytest.raises(RateLimited):
            limiter.count(caller, Receipt())


def test_replay_of_a_key_without_a_limit_of_requests_is_not_counted(key: str) -> None:
    receipt = Receipt()
    limiter = KeyRateLimiter(UnusedStore())
    limiter.count(Caller(key, limits=KeyLimits(images_per_minute=0, max_calls=0)), receipt)
    assert receipt.headers() == {}


@pytest.mark.parametrize("raised", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_call_is_released_after_any_exception(limiter: KeyRateLimiter, key: str, raised: type[BaseException]) -> None:
    caller = Caller(key, limits=KeyLimits(max_calls=1))
    for _ in range(3):
        with pytest.raises(raised), limiter.acquire(caller, 1, Receipt()):
            raise raised
    acquire(limiter, caller)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.001, "1s"), (1, "1s"), (58.2, "59s"), (60, "1m0s"), (61.5, "1m2s"), (360, "6m0s")],
)
def test_duration_has_the_form_of_openai(seconds: float, text: str) -> None:
    assert responses.duration(seconds) == text


@pytest.mark.parametrize(
    ("requests_wait", "images_wait", "calls_full", "message", "retry_after"),
    [
        (0.0001, None, False, "This API key may make 1 request a minute: try again in 1 s.", 1),
        (12.1, 30.0, False, "This API key may ask for 9 images a minute: try again in 30 s.", 30),
        (60.0004, 30.0, False, "This API key may make 1 request a minute: try again in 60 s.", 60),
        (None, 3.0, True, "This API key may have 2 calls in flight: try again in 5 s.", 5),
    ],
)
def test_error_names_the_limit_with_the_longest_wait(
    requests_wait: float | None, images_wait: float | None, calls_full: bool, message: str, retry_after: int
) -> None:
    checks = (RateCheck(REQUESTS, 1, 1), RateCheck(IMAGES, 9, 1))
    windows = (WindowStats(checks[0], 1, 60, requests_wait), WindowStats(checks[1], 9, 60, images_wait))
    error = responses.rate_limit_error(LimitRequest("k", checks, 2), LimitDecision(windows, calls_full))
    assert (error.message, error.retry_after, error.should_retry) == (message, retry_after, True)


def test_without_redis_calls_are_counted_in_process() -> None:
    limiter: RateLimiter = create_rate_limiter(None, 200)
    caller = Caller("k", limits=KeyLimits(requests_per_minute=1))
    acquire(limiter, caller)
    rejected(limiter, caller)


def test_url_of_another_scheme_is_an_error() -> None:
    with pytest.raises(ValueError, match="scheme"):
        create_rate_limiter("http://127.0.0.1:6379", 200)
