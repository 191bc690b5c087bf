"""`GET /v1/usage/requests`: the caller's newest requests, page by page, on both databases."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from app.storage.api_keys import ApiKeyStore
from app.storage.database import Database
from tests.blueprints.conftest import MODEL
from tests.blueprints.test_usage import PROMPT, add_row, draw
from tests.conftest import MakeClient
from tests.support.fake_minimax import FakeMinimax, respond, success

PATH = "/v1/usage/requests"
MOMENT = datetime(2026, 1, 31, 12, tzinfo=UTC)


def page(client: FlaskClient, secret: str, query: str = "") -> dict[str, Any]:
    response = client.get(f"{PATH}?{query}", headers={"Authorization": f"Bearer {secret}"})
    assert response.status_code == 200, response.text
    shown: dict[str, Any] = response.get_json()
    assert set(shown) == {"object", "data", "next"}
    assert shown["object"] == "list"
    return shown


def pages(client: FlaskClient, secret: str, limit: int) -> list[list[int]]:
    """`asked` of the requests on each page."""
    found, query = [], f"limit={limit}"
    while True:
        shown = page(client, secret, query)
        found.append([request["asked"] for request in shown["data"]])
        if shown["next"] is None:
            return found
        query = f"limit={limit}&before={shown['next']}"


def test_a_request_has_its_status_and_cost(
    keys: ApiKeyStore,
    gateway: FlaskClient,
    upstream: FakeMinimax,
) -> None:
    secret, begun = keys.create("harbour", balance=250), int(datetime.now(UTC).timestamp())
    upstream.script = respond(success(2), headers={"Trace-Id": "trace-1"})
    drawn, rejected = draw(gateway, secret, n=2), draw(gateway, secret, n=2)
    shown = page(gateway, secret)
    newest, oldest = shown["data"]
    assert shown["next"] is None
    assert all(begun <= each.pop("created") <= datetime.now(UTC).timestamp() for each in (newest, oldest))
    assert all(each.pop("milliseconds") >= 0 for each in (newest, oldest))
    of_both = {
        "object": "usage.request",
        "endpoint": "/v1/images/generations",
        "model": MODEL,
        "asked": 2,
        "taken": "connection",
    }
    assert oldest == of_both | {
        "request_id": drawn.headers["x-request-id"],
        "status": 200,
        "code": None,
        "delivered": 2,
        "charged": 200,
        "trace_id": "trace-1",
    }
    assert newest == of_both | {
        "request_id": rejected.headers["x-request-id"],
        "status": 429,
        "code": "insufficient_balance",
        "delivered": 0,
        "charged": 0,
        "trace_id": None,
    }
    assert PROMPT not in str(shown)


def test_a_caller_sees_only_its_own_requests(
    keys: ApiKeyStore,
    database: Database,
    gateway: FlaskClient,
) -> None:
    mine, other = keys.create("harbour"), keys.create("pass")
    for asked in (1, 2, 3):
        add_row(database, "pass", MOMENT, asked=asked)
    assert page(gateway, mine) == {"object": "list", "data": [], "next": None}
    following = page(gateway, other, "limit=1")["next"]
    assert page(gateway, mine, f"before={following}")["data"] == []


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (1, [[5], [4], [3], [2], [1]]),
        (2, [[5, 4], [3, 2], [1]]),
        (5, [[5, 4, 3, 2, 1]]),
        (100, [[5, 4, 3, 2, 1]]),
    ],
)
def test_pages_go_from_the_newest_to_the_oldest(
    keys: ApiKeyStore,
    database: Database,
    gateway: FlaskClient,
    limit: int,
    expected: list[list[int]],
) -> None:
    secret = keys.create("harbour")
    for asked in (2, 5, 1, 4, 3):
        add_row(database, "harbour", MOMENT + timedelta(microseconds=asked), asked=asked)
    assert pages(gateway, secret, limit) == expected


def test_requests_of_one_moment_are_on_one_page_each(
    keys: ApiKeyStore,
    database: Database,
    gateway: FlaskClient,
) -> None:
    secret = keys.create("harbour")
    for asked in range(1, 6):
        add_row(database, "harbour", MOMENT, asked=asked)
    found = pages(gateway, secret, 2)
    assert [len(each) for each in found] == [2, 2, 1]
    assert sorted(asked for each in found for asked in each) == [1, 2, 3, 4, 5]


def test_a_new_request_does_not_move_the_pages(
    keys: ApiKeyStore,
    database: Database,
    gateway: FlaskClient,
) -> None:
    secret = keys.create("harbour")
    for asked in (1, 2, 3):
        add_row(database, "harbour", MOMENT + timedelta(seconds=asked), asked=asked)
    following = page(gateway, secret, "limit=1")["next"]
    add_row(database, "harbour", MOMENT + timedelta(seconds=9), asked=9)
    assert [each["asked"] for each in page(gateway, secret, f"before={following}")["data"]] == [2, 1]


def test_twenty_requests_are_listed_by_default(
    keys: ApiKeyStore,
    database: Database,
    gateway: FlaskClient,
) -> None:
    secret = keys.create("harbour")
    for _ in range(21):
        add_row(database, "harbour", MOMENT)
    shown = page(gateway, secret)
    assert len(shown["data"]) == 20
    assert len(page(gateway, secret, f"before={shown['next']}")["data"]) == 1


@pytest.mark.parametrize(
    ("query", "field"),
    [
        *((f"limit={text}", "limit") for text in ("0", "101", "-1", "1.5", "ten", "", "１", "1&limit=2")),
        *((f"before={text}", "before") for text in ("1", "0-0", f"{'9' * 17}-{'a' * 32}", f"1-{'A' * 32}")),
        (f"before=1-{'a' * 32}&before=1-{'a' * 32}", "before"),
        ("after=1", "after"),
        ("start=2026-01-01", "start"),
    ],
)
@pytest.mark.parametrize("test_db", ["sqlite"], indirect=True)
def test_an_invalid_parameter_is_named(
    keys: ApiKeyStore,
    gateway: FlaskClient,
    query: str,
    field: str,
) -> None:
    rejected = gateway.get(f"{PATH}?{query}", headers={"Authorization": f"Bearer {keys.create('harbour')}"})
    assert rejected.status_code == 400
    assert (rejected.get_json()["error"]["param"], rejected.get_json()["error"]["code"]) == (field, "invalid_value")


@pytest.mark.parametrize("test_db", ["sqlite"], indirect=True)
def test_requests_need_a_key(gateway: FlaskClient) -> None:
    assert gateway.get(PATH, headers={"Authorization": ""}).status_code == 401


def test_there_are_no_requests_without_a_database(make_client: MakeClient) -> None:
    rejected = make_client().get(PATH)
    assert rejected.status_code == 404
    assert re.match("Usage needs a database", rejected.get_json()["error"]["message"])
