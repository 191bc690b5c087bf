"""Owns what a caller is told of its limits: OpenAI's headers, and the words of a refusal."""

from __future__ import annotations

import math
from collections.abc import Iterable

from app.errors import RateLimited
from app.limits.store import LimitDecision, LimitRequest, Unit, WindowStats

# Nobody knows when a call in flight ends; pictures take 5 to 60 s.
CALLS_RETRY_SECONDS = 5
# The OpenAI SDKs take a longer Retry-After for none.
LONGEST_RETRY_SECONDS = 60

_SENTENCES: dict[Unit, tuple[str, str]] = {
    "requests": ("This API key may make {} request a minute", "This API key may make {} requests a minute"),
    "images": ("This API key may ask for {} picture a minute", "This API key may ask for {} pictures a minute"),
}
_CALLS = ("This API key may have {} call in flight", "This API key may have {} calls in flight")


class RequestExceedsLimit(RateLimited):
    """429: more than the limit allows in any minute. Waiting does not help, so the SDKs are told not to retry."""

    should_retry = False

    def __init__(self, message: str) -> None:
        super().__init__(message, retry_after=0)
        self.retry_after = None


def headers(windows: Iterable[WindowStats]) -> dict[str, str]:
    """`x-ratelimit-{limit,remaining,reset}-{requests,images}`."""
    told = {}
    for window in windows:
        unit, limit = window.rate.unit, window.rate.limit
        told[f"x-ratelimit-limit-{unit}"] = str(limit)
        told[f"x-ratelimit-remaining-{unit}"] = str(max(limit - window.used, 0))
        told[f"x-ratelimit-reset-{unit}"] = duration(window.reset)
    return told


def duration(seconds: float) -> str:
    """As OpenAI's guide "RateLimit limits" writes them: `1s`, `6m0s`. Rounded up, so that nobody comes too early."""
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def rate_limit_error(call: LimitRequest, verdict: LimitDecision) -> RateLimited:
    """Of several limits the one that takes longest is named: after it, the call is let in."""
    never = _never(call)
    if never is not None:
        return RequestExceedsLimit(never)
    waits = [(window.wait, _sentence(_SENTENCES[window.rate.unit], window.rate.limit)) for window in verdict.windows]
    refusing = [(_whole(wait), sentence) for wait, sentence in waits if wait is not None]
    if verdict.calls_full:
        refusing.append((CALLS_RETRY_SECONDS, _sentence(_CALLS, call.max_calls or 0)))
    retry_after, sentence = max(refusing, key=lambda each: each[0])
    return RateLimited(f"{sentence}: try again in {retry_after} s.", retry_after)


def _never(call: LimitRequest) -> str | None:
    limits = [(_sentence(_SENTENCES[rate.unit], rate.limit), rate.limit, rate.cost) for rate in call.rates]
    if call.max_calls is not None:
        limits.append((_sentence(_CALLS, call.max_calls), call.max_calls, 1))
    for sentence, limit, cost in limits:
        if limit == 0:
            return f"{sentence}, so none is ever let in."
        if cost > limit:
            return f"{sentence}, so a request for {cost} is never let in."
    return None


def _sentence(one_and_many: tuple[str, str], count: int) -> str:
    return one_and_many[count != 1].format(count)


def _whole(seconds: float) -> int:
    return min(max(math.ceil(seconds), 1), LONGEST_RETRY_SECONDS)
