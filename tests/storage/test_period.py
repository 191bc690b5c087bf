"""Days and periods of reports."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from app.storage.period import DEFAULT_DAYS, InvalidPeriod, parse_day, resolve_period

DAY = date(2026, 1, 31)


def test_day_is_parsed() -> None:
    assert parse_day("2026-01-31") == DAY


@pytest.mark.parametrize(
    "text",
    [
        *("", "today", "20260131", "2026-1-31", "26-01-31", "2026-W05-6", "2026-031", "2026/01/31"),
        *("2026-01-32", "2026-13-01", "2025-02-29", "0000-01-01", "2026-01-31T00:00", "2026-01-31Z"),
        *(" 2026-01-31", "2026-01-31\n", "+2026-01-31", "2026-01-31,", "２０２６-01-31", "2026–01–31"),
    ],
)
def test_other_forms_of_a_day_are_errors(text: str) -> None:
    with pytest.raises(ValueError, match=r"day|isoformat|month|year"):
        parse_day(text)


@pytest.mark.parametrize(
    ("start", "end", "period"),
    [
        (DAY, DAY, (DAY, DAY)),
        (date(2025, 1, 1), DAY, (date(2025, 1, 1), DAY)),
        (None, DAY, (date(2026, 1, 2), DAY)),
        (None, date(1, 1, 10), (date(1, 1, 1), date(1, 1, 10))),
        (date(9999, 1, 1), date(9999, 12, 31), (date(9999, 1, 1), date(9999, 12, 31))),
    ],
)
def test_period_is_resolved(start: date | None, end: date, period: tuple[date, date]) -> None:
    assert resolve_period(start, end) == period


def test_default_period_ends_today() -> None:
    before = datetime.now(UTC).date()
    first, last = resolve_period(None, None)
    assert before <= last <= datetime.now(UTC).date()
    assert last - first == timedelta(days=DEFAULT_DAYS - 1)


def test_errors_name_the_fields_as_they_are_spelled() -> None:
    with pytest.raises(InvalidPeriod, match=r"^start must not come after end\.$"):
        resolve_period(date(2026, 2, 1), DAY)
    with pytest.raises(InvalidPeriod, match=r"^--start must not come after --end\.$"):
        resolve_period(date(2026, 2, 1), DAY, prefix="--")
    with pytest.raises(InvalidPeriod, match=r"^--start lies in the future: today is \d{4}-\d\d-\d\d, in UTC\.$"):
        resolve_period(date(2999, 1, 1), None, prefix="--")
