"""Limits of an API key: the table of rate limits, and the values that one key has for them.

A new rate limit is a row of `RATE_LIMITS` with its field in `KeyLimits`, a column of `api_keys` and a migration.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Unit = Literal["requests", "images"]


@dataclass(frozen=True)
class RateLimit:
    """How much of `unit` a key may use in any `window_seconds`.

    `name` is the field of `KeyLimits`, the column of `api_keys`, and the name in commands and in `GET /v1/usage`.
    `header` ends the names of the response headers `x-ratelimit-{limit,remaining,reset}-{header}`.
    `option` is the option of `keys create` and `keys update`, `option_help` its help.
    `sentence` is how an error message states the limit, in the singular and in the plural.
    """

    name: str
    unit: Unit
    window_seconds: int
    header: str
    option: str
    option_help: str
    sentence: tuple[str, str]


RATE_LIMITS = (
    RateLimit(
        name="requests_per_minute",
        unit="requests",
        window_seconds=60,
        header="requests",
        option="--rpm",
        option_help="Requests a minute, or none.",
        sentence=("This API key may make {} request a minute", "This API key may make {} requests a minute"),
    ),
    RateLimit(
        name="images_per_minute",
        unit="images",
        window_seconds=60,
        header="images",
        option="--ipm",
        option_help="Images a minute, or none.",
        sentence=("This API key may ask for {} image a minute", "This API key may ask for {} images a minute"),
    ),
)


@dataclass(frozen=True)
class KeyLimits:
    """The limits of one key, None where there is none. `max_calls` bounds the calls in flight at one time."""

    requests_per_minute: int | None = None
    images_per_minute: int | None = None
    max_calls: int | None = None

    def rates(self) -> tuple[tuple[RateLimit, int], ...]:
        """The rate limits that are set, each with its value."""
        values = ((rate, getattr(self, rate.name)) for rate in RATE_LIMITS)
        return tuple((rate, value) for rate, value in values if value is not None)


UNLIMITED = KeyLimits()
