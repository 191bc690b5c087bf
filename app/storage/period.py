"""Days and periods of reports. A day is in UTC and written `YYYY-MM-DD`."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

DEFAULT_DAYS = 30  # of a period without a start

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


class InvalidPeriod(ValueError):
    """The start comes after the end. The message says so in one sentence."""


def parse_day(text: str) -> date:
    """Parse `YYYY-MM-DD` and no other form of ISO 8601. Raises `ValueError`."""
    if not _DAY.fullmatch(text):
        raise ValueError("not a day like 2027-01-31")
    return date.fromisoformat(text)


def resolve_period(start: date | None, end: date | None, *, prefix: str = "") -> tuple[date, date]:
    """The first and the last day, both inclusive.

    The end is today if it is not given, the start such that the period has `DEFAULT_DAYS` days. `prefix` stands before
    the names `start` and `end` in error messages: `--` for options. Raises `InvalidPeriod`.
    """
    today = datetime.now(UTC).date()
    last = end or today
    default_period = timedelta(days=DEFAULT_DAYS - 1)
    first = start or max(last, date.min + default_period) - default_period
    if first <= last:
        return first, last
    if end is None:
        raise InvalidPeriod(f"{prefix}start lies in the future: today is {today}, in UTC.")
    raise InvalidPeriod(f"{prefix}start must not come after {prefix}end.")
