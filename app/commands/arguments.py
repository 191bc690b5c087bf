"""click parameter types. click's own would accept ` 5`, `1_000` and `2027-1-31`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from app.model_catalog import MODELS, find_model
from app.storage.api_keys import SECRET_PREFIX
from app.storage.period import DEFAULT_DAYS, InvalidPeriod, parse_day, resolve_period

F = TypeVar("F", bound=Callable[..., Any])

MAX_INT32 = 2_147_483_647  # the largest value of a 32-bit column
MAX_MONEY = 10**15  # micro-units


class Label(click.ParamType[str]):
    """A name or note: printable text without white space around it, which cannot be mistaken for an API key."""

    name = "name"

    def __init__(self, max_chars: int) -> None:
        self._max_chars = max_chars

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        if not (0 < len(text) <= self._max_chars and text.isprintable() and text == text.strip()):
            self.fail(f"expected 1 to {self._max_chars} printable characters.", param, ctx)
        if text.startswith(SECRET_PREFIX):
            self.fail(f"a name cannot begin with {SECRET_PREFIX}: keys do.", param, ctx)
        return text


class Models(click.ParamType[str]):
    """Names of models with commas between them, or `all`.

    The value is that of `ApiKey.models`: ids with commas between them, the empty string for `all`.
    """

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
    """A limit of a key, 1 or more; None for `none`."""

    name = "limit"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        if value in (None, "none"):
            return None
        number = parse_integer(str(value))
        if number is None or not 1 <= number <= MAX_INT32:
            self.fail(f"expected a whole number from 1 to {MAX_INT32}, or none.", param, ctx)
        return number


class OptionalChoice(click.ParamType[str | None]):
    """One of `choices`; None for `none`."""

    name = "choice"

    def __init__(self, choices: Sequence[str]) -> None:
        self._choice = click.Choice([*choices, "none"])

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str | None:
        return self._choice.get_metavar(param, ctx)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | None:
        if value is None:
            return None
        chosen = self._choice.convert(value, param, ctx)
        return None if chosen == "none" else chosen


class Money(click.ParamType[int]):
    """An amount in micro-units, at least `minimum`."""

    name = "micro-units"

    def __init__(self, minimum: int) -> None:
        self._minimum = minimum

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        number = parse_integer(str(value))
        if number is None or not self._minimum <= number <= MAX_MONEY:
            self.fail(f"expected whole micro-units from {self._minimum} to {MAX_MONEY}.", param, ctx)
        return number


class Expiry(click.ParamType[datetime | None]):
    """A point in time in the future, in UTC unless it has an offset; a day means its start. None for `never`."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime | None:
        if value in (None, "never"):
            return None
        try:
            time = value if isinstance(value, datetime) else datetime.fromisoformat(value)
            time = (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail("expected a day or a time in UTC like 2027-01-31 or 2027-01-31T18:00, or never.", param, ctx)
        if time <= datetime.now(UTC):
            self.fail("that time is in the past; to stop a key, revoke it.", param, ctx)
        return time


class Day(click.ParamType[date]):
    """A day, `YYYY-MM-DD`."""

    name = "day"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        try:
            return value if isinstance(value, date) else parse_day(value)
        except ValueError:
            self.fail("expected a day like 2027-01-31.", param, ctx)


def is_given(option: str) -> bool:
    """Whether the option is on the command line, even as `none`."""
    return click.get_current_context().get_parameter_source(option) is ParameterSource.COMMANDLINE


def parse_integer(text: str) -> int | None:
    """The integer of up to 18 ASCII digits with an optional sign; None for any other text."""
    return int(text) if re.fullmatch(r"[+-]?\d{1,18}", text, re.ASCII) else None


def period_options(command: F) -> F:
    """Options `--start` and `--end`, both inclusive and in UTC."""
    start = click.option("--start", type=Day(), help=f"The first day, in UTC. [default: {DEFAULT_DAYS} days]")
    end = click.option("--end", type=Day(), help="The last day, in UTC. [default: today]")
    return start(end(command))


def period(start: date | None, end: date | None) -> tuple[date, date]:
    """`resolve_period` for the options of `period_options`. Raises `click.ClickException`."""
    try:
        return resolve_period(start, end, prefix="--")
    except InvalidPeriod as error:
        raise click.ClickException(str(error)) from None
