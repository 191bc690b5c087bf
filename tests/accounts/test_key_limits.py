"""A limit that is added in one place only is noticed: the table, the values and the columns agree."""

from __future__ import annotations

from dataclasses import fields

import pytest

from app.accounts.key_limits import RATE_LIMITS, KeyLimits, RateLimit
from app.storage.tables import KEYS

LIMIT_NAMES = [field.name for field in fields(KeyLimits)]


def test_fields_of_key_limits_are_the_rate_limits_and_max_calls() -> None:
    names = [*(rate.name for rate in RATE_LIMITS), "max_calls"]
    assert names == LIMIT_NAMES, "edit RATE_LIMITS or KeyLimits in app/accounts/key_limits.py: each row needs its field"


@pytest.mark.parametrize("name", LIMIT_NAMES)
def test_every_limit_has_a_column(name: str) -> None:
    assert name in KEYS.c, f"add {name} to ApiKey in app/storage/tables.py, and a migration"
    assert KEYS.c[name].nullable


@pytest.mark.parametrize("attribute", ["name", "header", "option", "option_help", "sentence"])
def test_no_two_rate_limits_share_a_name(attribute: str) -> None:
    values = [getattr(rate, attribute) for rate in RATE_LIMITS]
    assert len(set(values)) == len(values)


@pytest.mark.parametrize("rate", RATE_LIMITS, ids=lambda rate: rate.name)
def test_rate_limit_can_be_counted_and_stated(rate: RateLimit) -> None:
    assert rate.window_seconds >= 1
    assert rate.option.startswith("--")
    assert [sentence.count("{}") for sentence in rate.sentence] == [1, 1]


@pytest.mark.parametrize(
    ("limits", "rates"),
    [
        (KeyLimits(), []),
        (KeyLimits(max_calls=1), []),
        (KeyLimits(images_per_minute=0), [("images_per_minute", 0)]),
        (
            KeyLimits(requests_per_minute=5, images_per_minute=7, max_calls=9),
            [("requests_per_minute", 5), ("images_per_minute", 7)],
        ),
    ],
)
def test_rates_are_those_that_are_set(limits: KeyLimits, rates: list[tuple[str, int]]) -> None:
    assert [(rate.name, value) for rate, value in limits.rates()] == rates
