"""Owns what may be typed: names, models, limits, money and points in time, each refused with its reason."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from app.model_catalog import MODELS, find_model
from app.storage.api_keys import SECRET_PREFIX

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_DAYS = 30
MAX_INT32 = 2_147_483_647  # of a column of 32 bits
MAX_MONEY = 10**15

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


class Name(click.ParamType[str]):
    name = "name"

    def __init__(self, longest: int) -> None:
        self._longest = longest

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        if not (0 < len(text) <= self._longest and text.isprintable() and text == text.strip()):
            self.fail(f"expected 1 to {self._longest} printable characters.", param, ctx)
        if text.startswith(SECRET_PREFIX):
            self.fail(f"a name cannot begin with {SECRET_PREFIX}: keys do.", param, ctx)
        return text


class Models(click.ParamType[str]):
    """Becomes the ids with commas between them; `all` becomes the empty string."""

    name = "models"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value == "all":
            return ""
        found = [find_model(name.strip()) for name in str(value).split(",")]
        if None in found:
            known = ", ".join(model.id for model in MODELS)
            self.fail(f"expected all, or names out of: {known}.", param, ctx)
        return ",".join(dict.fromkeys(model.id for model in found if model))


class Limit(click.ParamType[int | None]):
    """`none` becomes None."""

    name = "limit"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        if value in (None, "none"):
            return None
        number = whole_number(str(value))
        if number is None or not 1 <= number <= MAX_INT32:
            self.fail(f"expected a whole number from 1 to {MAX_INT32}, or none.", param, ctx)
        return number


class Money(click.ParamType[int]):
    name = "micro-units"

    def __init__(self, least: int) -> None:
        self._least = least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        number = whole_number(str(value))
        if number is None or not self._least <= number <= MAX_MONEY:
            self.fail(f"expected whole micro-units from {self._least} to {MAX_MONEY}.", param, ctx)
        return number


class Expiry(click.ParamType[datetime | None]):
    """A moment to come, in UTC where nothing else is said; a day means its beginning. `never` becomes None."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime | None:
        if value in (None, "never"):
            return None
        try:
            moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
            moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail("expected a day or a moment in UTC like 2027-01-31 or 2027-01-31T18:00, or never.", param, ctx)
        if moment <= datetime.now(UTC):
            self.fail("that moment is over; to stop a key, revoke it.", param, ctx)
        return moment


class Day(click.ParamType[date]):
    name = "day"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        try:
            if isinstance(value, date):
                return value
            if not _DAY.fullmatch(value):
                raise ValueError
            return date.fromisoformat(value)
        except ValueError:
            self.fail("expected a day like 2027-01-31.", param, ctx)


def is_given(option: str) -> bool:
    """Whether it was typed, be it as `none`."""
    return click.get_current_context().get_parameter_source(option) is ParameterSource.COMMANDLINE


def whole_number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[+-]?\d{1,18}", text, re.ASCII) else None


def days(command: F) -> F:
    """`--start` and `--end`, both inclusive and in UTC."""
    start = click.option("--start", type=Day(), help=f"The first day, in UTC. [default: {DEFAULT_DAYS} days]")
    end = click.option("--end", type=Day(), help="The last day, in UTC. [default: today]")
    return start(end(command))


def between(start: date | None, end: date | None) -> tuple[date, date]:
    """The first and the last day, in UTC. Raises `click.ClickException`."""
    last = end or datetime.now(UTC).date()
    try:
        first = start or last - timedelta(days=DEFAULT_DAYS - 1)
    except OverflowError:
        first = date.min
    if first > last:
        in_future = f"--start lies in the future: today is {last}, in UTC."
        raise click.ClickException(in_future if end is None else "--start must not come after --end.")
    return first, last
