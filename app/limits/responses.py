"""Rate limit response headers and 429 errors."""

from __future__ import annotations

import math
from collections.abc import Iterable

from app.errors import MAX_RETRY_AFTER_SECONDS, RateLimited
from app.limits.store import LimitDecision, LimitRequest, WindowStats

# When a call in flight will end is unknown; images take 5 to 60 s.
CALLS_RETRY_SECONDS = 5

_CALLS = ("This API key may have {} call in flight", "This API key may have {} calls in flight")


class RequestExceedsLimit(RateLimited):
    """429 for a request that costs more than its limit. `x-should-retry` is false, because waiting does not help."""

    should_retry = False

    def __init__(self, message: str) -> None:
        super().__init__(message, retry_after=0)
        self.retry_after = None


def headers(windows: Iterable[WindowStats]) -> dict[str, str]:
    """`x-ratelimit-{limit,remaining,reset}-…` for each window, named as OpenAI names them."""
    found = {}
    for window in windows:
        suffix, limit = window.check.rate.header, window.check.limit
        found[f"x-ratelimit-limit-{suffix}"] = str(limit)
        found[f"x-ratelimit-remaining-{suffix}"] = str(max(limit - window.used, 0))
        found[f"x-ratelimit-reset-{suffix}"] = duration(window.reset)
    return found


def duration(seconds: float) -> str:
    """A duration in the form of OpenAI's guide "Rate limits", `1s` or `6m0s`, rounded up to whole seconds."""
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def rate_limit_error(call: LimitRequest, decision: LimitDecision) -> RateLimited:
    """The error for a call that was not admitted. It names the exceeded limit that takes longest to free up."""
    impossible = _impossible(call)
    if impossible is not None:
        return RequestExceedsLimit(impossible)
    waits = [
        (_retry_after(window.wait), _sentence(window.check.rate.sentence, window.check.limit))
        for window in decision.windows
        if window.wait is not None
    ]
    if decision.calls_full:
        waits.append((CALLS_RETRY_SECONDS, _sentence(_CALLS, call.max_calls or 0)))
    retry_after, sentence = max(waits, key=lambda each: each[0])
    return RateLimited(f"{sentence}: try again in {retry_after} s.", retry_after)


def _impossible(call: LimitRequest) -> str | None:
    """The message for a call that will never be admitted, however long the caller waits; else None."""
    limits = [(_sentence(check.rate.sentence, check.limit), check.limit, check.cost) for check in call.checks]
    if call.max_calls is not None:
        limits.append((_sentence(_CALLS, call.max_calls), call.max_calls, 1))
    for sentence, limit, cost in limits:
        if limit == 0:
            return f"{sentence}, so none is ever admitted."
        if cost > limit:
            return f"{sentence}, so a request for {cost} is never admitted."
    return None


def _sentence(singular_and_plural: tuple[str, str], count: int) -> str:
    return singular_and_plural[count != 1].format(count)


def _retry_after(seconds: float) -> int:
    return min(max(math.ceil(seconds), 1), MAX_RETRY_AFTER_SECONDS)
