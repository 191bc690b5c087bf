"""`usage`: rows and totals, as tables, JSON and CSV."""

from __future__ import annotations

import csv
import uuid
from datetime import UTC, datetime

import pytest

from app.storage.api_keys import ApiKeyStore
from app.storage.database import Database
from app.storage.usage import UsageStore
from tests.commands.conftest import Operator, document, failure, misuse, printed

PERIOD = ("--start", "2026-01-01", "--end", "2026-01-31")


@pytest.fixture(autouse=True)
def rows(database: Database) -> None:
    keys = ApiKeyStore(database)
    for name in ("harbour", "pass"):
        keys.create(name)
    drawn = {"status": 200, "code": None, "asked": 2, "delivered": 2, "charged": 200, "trace_id": "trace"}
    rejected = {
        "status": 429,
        "code": "insufficient_balance",
        "asked": 1,
        "delivered": 0,
        "charged": 0,
        "trace_id": None,
        "taken": "retry",
    }
    for name, moment, outcome in (
        ("harbour", "2026-01-01T00:00:00+00:00", drawn),
        ("harbour", "2026-01-31T12:00:00+00:00", drawn),
        ("harbour", "2026-01-31T23:59:59+00:00", rejected),
        ("harbour", "2026-02-01T00:00:00+00:00", drawn),
        ("pass", "2026-01-31T12:00:00+00:00", drawn),
    ):
        UsageStore(database).add(
            {
                "id": uuid.uuid4().hex,
                "key_id": keys.get(name).id,
                "created_at": moment,
                "request_id": f"request-{moment[5:13]}",
                "endpoint": "/v1/images/generations",
                "model": "MiniMax-Image-01",
                "milliseconds": 5,
                **outcome,
            }
        )


def test_one_row_per_request(operator: Operator) -> None:
    text = printed(operator("usage", "--key", "harbour", *PERIOD, "--csv"))
    found = list(csv.DictReader(text.splitlines()))
    assert [row["request_id"] for row in found] == ["request-01-01T00", "request-01-31T12", "request-01-31T23"]
    assert found[2] == {
        "created_at": "2026-01-31T23:59:59Z",
        "key": "harbour",
        "request_id": "request-01-31T23",
        "endpoint": "/v1/images/generations",
        "model": "MiniMax-Image-01",
        "asked": "1",
        "delivered": "0",
        "charged": "0",
        "status": "429",
        "code": "insufficient_balance",
        "milliseconds": "5",
        "trace_id": "",
    }
    assert document(operator("usage", "--key", "harbour", *PERIOD, "--json"))[2]["trace_id"] is None
    assert printed(operator("usage", "--key", "harbour", *PERIOD)).count("\n") == 4


def test_totals_are_by_day_and_model(operator: Operator) -> None:
    model = "MiniMax-Image-01"
    totals = document(operator("usage", "--key", "harbour", *PERIOD, "--totals", "--json"))
    names = ("day", "model", "requests", "asked", "delivered", "charged")
    assert totals == [
        dict(zip(names, ("2026-01-01", model, 1, 2, 2, 200), strict=True)) | {"taken": {"connection": 1}},
        dict(zip(names, ("2026-01-31", model, 2, 3, 2, 200), strict=True)) | {"taken": {"connection": 1, "retry": 1}},
    ]
    assert printed(operator("usage", "--key", "harbour", *PERIOD, "--totals", "--csv")).splitlines()[0] == ",".join(
        names
    )


def test_rows_of_all_keys_begin_with_the_key(operator: Operator) -> None:
    found = list(csv.reader(printed(operator("usage", *PERIOD, "--csv")).splitlines()))
    assert found[0][:3] == ["key", "created_at", "request_id"]
    assert [row[:2] for row in found[1:]] == [
        ["harbour", "2026-01-01T00:00:00Z"],
        ["harbour", "2026-01-31T12:00:00Z"],
        ["harbour", "2026-01-31T23:59:59Z"],
        ["pass", "2026-01-31T12:00:00Z"],
    ]
    assert [list(row.values()) for row in document(operator("usage", *PERIOD, "--json"))] == [
        [*row[:5], *map(int, row[5:9]), row[9] or None, int(row[10]), row[11] or None, taken]
        for row, taken in zip(found[1:], ("connection", "connection", "retry", "connection"), strict=True)
    ]
    assert [line.split()[0] for line in printed(operator("usage", *PERIOD)).splitlines()] == [row[0] for row in found]


def test_totals_of_all_keys_are_by_key(operator: Operator) -> None:
    found = list(csv.reader(printed(operator("usage", *PERIOD, "--totals", "--csv")).splitlines()))
    assert found == [
        ["key", "day", "model", "requests", "asked", "delivered", "charged"],
        ["harbour", "2026-01-01", "MiniMax-Image-01", "1", "2", "2", "200"],
        ["harbour", "2026-01-31", "MiniMax-Image-01", "2", "3", "2", "200"],
        ["pass", "2026-01-31", "MiniMax-Image-01", "1", "2", "2", "200"],
    ]
    totals = document(operator("usage", *PERIOD, "--totals", "--json"))
    assert [dict(zip(found[0], row, strict=True)) for row in found[1:]] == [
        {name: str(value) for name, value in total.items() if name != "taken"} for total in totals
    ]


def test_keys_usage_is_the_same_command(operator: Operator) -> None:
    asked = [*PERIOD, "--csv"]
    assert printed(operator("keys", "usage", "harbour", *asked)) == printed(
        operator("usage", "--key", "harbour", *asked)
    )


@pytest.mark.parametrize("test_db", ["sqlite"], indirect=True)
@pytest.mark.parametrize("day", ["2026-13-01", "20260101", "2026-W01-1", "today", "２０２６-01-01", ""])
def test_invalid_day_names_its_option(operator: Operator, day: str) -> None:
    for option in ("--start", "--end"):
        message = misuse(operator("usage", "--key", "harbour", option, day))
        assert message == f"Invalid value for '{option}': expected a day like 2027-01-31."


@pytest.mark.parametrize("test_db", ["sqlite"], indirect=True)
@pytest.mark.parametrize("command", [("usage",), ("ledger", "list")], ids=" ".join)
def test_start_in_the_future_is_an_error(operator: Operator, command: tuple[str, ...]) -> None:
    before = datetime.now(UTC).date()
    message = failure(operator(*command, "--start", "2999-01-31"))
    days = (before, datetime.now(UTC).date())  # midnight may be between
    assert message in {f"--start lies in the future: today is {day}, in UTC." for day in days}
    assert printed(operator(*command, "--start", "2999-01-31", "--end", "2999-01-31")).count("\n") == 1
