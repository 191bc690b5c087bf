"""`GET /v1/usage`, and the usage row of each image request, on both databases."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.storage.api_keys import ApiKeyStore
from app.storage.database import Database
from app.storage.usage import UsageStore
from tests.blueprints.conftest import MODEL
from tests.support.fake_minimax import FakeMinimax, respond, success

PROMPT = "A lighthouse that must not be logged"

Ask = Callable[..., TestResponse]


@pytest.fixture
def ask(gateway: FlaskClient) -> Ask:
    """`GET /v1/usage` with the secret of a key."""

    def ask(secret: str, **days: str) -> TestResponse:
        return gateway.get("/v1/usage", query_string=days, headers={"Authorization": f"Bearer {secret}"})

    return ask


def draw(gateway: FlaskClient, secret: str, **fields: Any) -> TestResponse:
    body = {"model": MODEL, "prompt": PROMPT} | fields
    return gateway.post("/v1/images/generations", json=body, headers={"Authorization": f"Bearer {secret}"})


def add_row(database: Database, name: str, moment: datetime, **outcome: Any) -> None:
    row = {"asked": 1, "delivered": 1, "charged": 100, "status": 200, "code": None, "model": MODEL, "trace_id": None}
    UsageStore(database).add(
        {
            "id": uuid.uuid4().hex,
            "key_id": ApiKeyStore(database).get(name).id,
            "created_at": moment.isoformat(),
            "request_id": "request",
            "endpoint": "/v1/images/generations",
            "milliseconds": 1,
            **row,
            **outcome,
        }
    )


def total(day: str, model: str | None, *numbers: int) -> dict[str, Any]:
    counts = dict(zip(("requests", "asked", "delivered", "charged"), numbers, strict=True))
    return {"day": day, "model": model} | counts | {"taken": {"connection": counts["requests"]}}


def test_unused_key_has_no_totals_but_balance_and_limits(keys: ApiKeyStore, ask: Ask) -> None:
    secret = keys.create("harbour", balance=300, images_per_minute=10)
    today = datetime.now(UTC).date()
    shown = ask(secret)
    assert shown.status_code == 200
    assert shown.json == {
        "object": "usage",
        "start": (today - timedelta(days=29)).isoformat(),
        "end": today.isoformat(),
        "data": [],
        "balance": 300,
        "limits": {"requests_per_minute": None, "images_per_minute": 10, "max_calls": None},
        "remaining": {"requests_per_minute": None, "images_per_minute": 10, "max_calls": None},
        "reset_seconds": {"requests_per_minute": None, "images_per_minute": 0},
    }


def test_missing_limits_are_null(keys: ApiKeyStore, ask: Ask) -> None:
    shown = ask(keys.create("harbour")).json
    assert shown is not None
    assert (shown["balance"], set(shown["limits"].values())) == (None, {None})
    assert {*shown["remaining"].values(), *shown["reset_seconds"].values()} == {None}


def test_asking_what_is_left_of_the_limits_uses_nothing_of_them(
    keys: ApiKeyStore, gateway: FlaskClient, upstream: FakeMinimax, ask: Ask
) -> None:
    secret = keys.create("harbour", requests_per_minute=3, images_per_minute=5, max_calls=2)
    upstream.script = respond(success(2))
    assert draw(gateway, secret, n=2).headers["x-ratelimit-remaining-images"] == "3"
    for _ in range(4):
        shown = ask(secret).json
        assert shown is not None
        assert shown["remaining"] == {"requests_per_minute": 2, "images_per_minute": 3, "max_calls": 2}
        assert all(0 < seconds <= 60 for seconds in shown["reset_seconds"].values())
    keys.update("harbour", images_per_minute=None)
    shown = ask(secret).json
    assert shown is not None
    assert shown["remaining"]["images_per_minute"] is None


def test_caller_sees_only_its_own_usage(keys: ApiKeyStore, database: Database, ask: Ask) -> None:
    mine, other = keys.create("harbour", balance=1), keys.create("pass", balance=2)
    add_row(database, "pass", datetime.now(UTC))
    for secret, balance, rows in ((mine, 1, 0), (other, 2, 1)):
        shown = ask(secret).json
        assert shown is not None
        assert (shown["balance"], len(shown["data"])) == (balance, rows)
    rejected = ask(mine, key="pass")
    assert rejected.status_code == 400
    assert rejected.json is not None
    assert rejected.json["error"]["param"] == "key"


def test_totals_count_how_answers_were_taken(keys: ApiKeyStore, database: Database, ask: Ask) -> None:
    secret, when = keys.create("harbour"), datetime.fromisoformat("2026-01-31T00:00:00+00:00")
    for taken in ("connection", "retry", "connection", "stream"):
        add_row(database, "harbour", when, taken=taken)
    shown = ask(secret, start="2026-01-31", end="2026-01-31").json
    assert shown is not None
    [data] = shown["data"]
    assert (data["requests"], data["delivered"]) == (4, 4)
    assert data["taken"] == {"connection": 2, "retry": 1, "stream": 1}


def test_totals_are_by_day_in_utc_and_by_model(keys: ApiKeyStore, database: Database, ask: Ask) -> None:
    secret = keys.create("harbour")
    for text, outcome in (
        ("2026-01-30T23:59:59", {}),
        ("2026-01-31T00:00:00", {"asked": 4, "delivered": 3, "charged": 300}),
        ("2026-01-31T23:59:59", {}),
        ("2026-01-31T12:00:00", {"model": "MiniMax-Image-01-live"}),
        ("2026-02-01T23:59:59", {"delivered": 0, "charged": 0, "status": 429}),
        ("2026-02-02T00:00:00", {}),
    ):
        add_row(database, "harbour", datetime.fromisoformat(text).replace(tzinfo=UTC), **outcome)
    shown = ask(secret, start="2026-01-31", end="2026-02-01").json
    assert shown is not None
    assert (shown["start"], shown["end"]) == ("2026-01-31", "2026-02-01")
    assert shown["data"] == [
        total("2026-01-31", MODEL, 2, 5, 4, 400),
        total("2026-01-31", "MiniMax-Image-01-live", 1, 1, 1, 100),
        total("2026-02-01", MODEL, 1, 1, 0, 0),
    ]
    later = ask(secret, start="2026-02-02", end="2026-02-02").json
    assert later is not None
    assert later["data"] == [total("2026-02-02", MODEL, 1, 1, 1, 100)]


def test_model_of_an_invalid_request_is_null(keys: ApiKeyStore, gateway: FlaskClient, ask: Ask) -> None:
    secret = keys.create("harbour")
    assert draw(gateway, secret, n="many").status_code == 400
    shown = ask(secret).json
    assert shown is not None
    assert shown["data"] == [total(shown["end"], None, 1, 0, 0, 0)]


@pytest.mark.parametrize(
    ("days", "field"),
    [
        ({"start": "2026-13-01"}, "start"),
        ({"start": "20260101"}, "start"),
        ({"end": "2026-W01-1"}, "end"),
        ({"end": "yesterday"}, "end"),
        ({"end": "２０２６-01-01"}, "end"),
        ({"end": "2026-01-01T00:00"}, "end"),
        ({"start": "2026-02-01", "end": "2026-01-31"}, "start"),
        ({"start": "2999-01-01"}, "start"),
        ({"start": "2026-01-01", "end": "2027-01-02"}, "start"),
        ({"Start": "2026-01-01"}, "Start"),
        ({"start_time": "1"}, "start_time"),
    ],
)
@pytest.mark.parametrize("test_db", ["sqlite"], indirect=True)
def test_invalid_period_names_its_parameter(keys: ApiKeyStore, ask: Ask, days: dict[str, str], field: str) -> None:
    rejected = ask(keys.create("harbour"), **days)
    assert rejected.status_code == 400
    assert rejected.json is not None
    assert (rejected.json["error"]["param"], rejected.json["error"]["code"]) == (field, "invalid_value")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("start=2026-01-01&start=2026-01-02", "start is given more than once."),
        ("end=2026-01-01&end=2026-01-01", "end is given more than once."),
        ("start=2999-01-01", "start lies in the future"),
    ],
)
@pytest.mark.parametrize("test_db", ["sqlite"], indirect=True)
def test_message_says_what_is_wrong_with_the_period(
    gateway: FlaskClient, keys: ApiKeyStore, query: str, words: str
) -> None:
    rejected = gateway.get(f"/v1/usage?{query}", headers={"Authorization": f"Bearer {keys.create('harbour')}"})
    assert rejected.status_code == 400
    assert words in rejected.text


@pytest.mark.parametrize(
    ("days", "start", "end"),
    [
        ({"start": "2026-01-01", "end": "2027-01-01"}, "2026-01-01", "2027-01-01"),
        ({"end": "0001-01-01"}, "0001-01-01", "0001-01-01"),
        ({"end": "9999-12-31"}, "9999-12-02", "9999-12-31"),
        ({"start": "", "end": "2026-01-30"}, "2026-01-01", "2026-01-30"),
    ],
)
def test_period_may_be_a_year_at_any_time(
    keys: ApiKeyStore, ask: Ask, days: dict[str, str], start: str, end: str
) -> None:
    shown = ask(keys.create("harbour"), **days).json
    assert shown is not None
    assert (shown["start"], shown["end"]) == (start, end)


def test_usage_needs_a_valid_key(keys: ApiKeyStore, ask: Ask) -> None:
    revoked = keys.create("revoked")
    keys.revoke("revoked")
    expired = keys.create("expired", expires_at=datetime.now(UTC))
    for secret in ("", "amux_sk_unknown", revoked, expired):
        assert ask(secret).status_code == 401


@pytest.mark.parametrize("test_db", ["sqlite"], indirect=True)
def test_usage_is_read_only(gateway: FlaskClient, keys: ApiKeyStore) -> None:
    headers = {"Authorization": f"Bearer {keys.create('harbour')}"}
    assert gateway.post("/v1/usage", headers=headers).status_code == 405
    assert "GET /v1/usage" in gateway.get("/v1/nothing", headers=headers).text


def test_no_usage_endpoint_without_a_database(client: FlaskClient) -> None:
    rejected = client.get("/v1/usage")
    assert rejected.status_code == 404
    assert "/v1/usage" not in rejected.text


def test_every_image_request_is_recorded_whatever_its_outcome(
    keys: ApiKeyStore, database: Database, gateway: FlaskClient, upstream: FakeMinimax, ask: Ask
) -> None:
    secret = keys.create("harbour", balance=300)
    upstream.script = respond(success(2), headers={"Trace-Id": "trace-1"})
    assert draw(gateway, secret, n=2).status_code == 200
    assert draw(gateway, secret, n=2).status_code == 429
    assert draw(gateway, secret, n=10).status_code == 400
    assert gateway.get("/v1/models", headers={"Authorization": f"Bearer {secret}"}).status_code == 200
    shown = ask(secret).json
    assert shown is not None
    assert shown["balance"] == 100
    assert shown["data"] == [
        total(shown["end"], MODEL, 2, 4, 2, 200),
        total(shown["end"], None, 1, 0, 0, 0),
    ]
    today = datetime.now(UTC).date()
    rows = UsageStore(database).rows(keys.get("harbour").id, today - timedelta(days=1), today)
    assert [(row.status, row.code, row.asked, row.delivered, row.charged) for row in rows] == [
        (200, None, 2, 2, 200),
        (429, "insufficient_balance", 2, 0, 0),
        (400, "invalid_value", 0, 0, 0),
    ]
    assert {row.endpoint for row in rows} == {"/v1/images/generations"}
    assert [row.trace_id for row in rows] == ["trace-1", None, None]
    assert not [row for row in rows if PROMPT in str(vars(row))]
