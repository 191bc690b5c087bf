"""Errors without `base_resp`: `{"error": {"message"}}` by its HTTP status, and a 401 or 403 with any body or none."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import Any

import pytest
from flask.testing import FlaskClient

from app.minimax.client import MinimaxClient
from app.minimax.error_codes import ERROR_BODY_CODES, STATUSES_WITH_ANY_BODY, WITHOUT_CODE
from app.minimax.errors import MinimaxError
from tests.minimax.calls import ENDPOINTS, PROMPT, envelope, generate, retry_headers
from tests.support.fake_minimax import FakeMinimax, respond
from tests.support.processes import UPSTREAM_KEY


@dataclass(frozen=True)
class Row:
    """MiniMax responds with `http_status`; the caller gets `status`, `code` and `message`."""

    http_status: int
    status: int
    code: str
    message: str
    retry: bool = False
    outcome_unknown: bool = False


INTERNAL = "MiniMax had an internal error; the image may have been generated, and charged to the gateway"
ROWS = (
    Row(400, 400, "upstream_rejected_request", "MiniMax rejected the request as invalid"),
    Row(401, 502, "upstream_unauthorized", "MiniMax rejected the gateway's own key; contact the operator"),
    Row(402, 429, "upstream_payment_required", "The gateway's MiniMax account has no balance or quota left"),
    Row(403, 403, "upstream_forbidden", "MiniMax denied the request"),
    Row(404, 502, "upstream_not_found", "MiniMax did not find the endpoint or the model"),
    Row(422, 400, "upstream_rejected_request", "MiniMax rejected the request as invalid"),
    Row(429, 429, "upstream_too_many_requests", "MiniMax's rate limit was reached", retry=True),
    *(
        Row(http_status, 502, "upstream_server_error", INTERNAL, outcome_unknown=True)
        for http_status in (500, 502, 503, 504)
    ),
)
OPERATOR_ERRORS = (401,)
# MiniMax's `error`, and how it is quoted.
ERRORS: dict[str, tuple[Any, str]] = {
    "message": ({"message": "the reason"}, ": the reason"),
    "message among others": ({"type": "t", "code": 7, "param": None, "message": "the reason"}, ": the reason"),
    "text": ("the reason", ": the reason"),
    "message on two lines": ({"message": "the\r\n  reason\0"}, ": the reason"),
    "empty message": ({"message": ""}, ""),
    "null message": ({"message": None}, ""),
    "numeric message": ({"message": 5}, ""),
    "nested message": ({"message": {"message": "the reason"}}, ""),
    "no message": ({"type": "server_error"}, ""),
    "the prompt": ({"message": f"bad: '{PROMPT}'"}, ""),
    "the key": ({"message": f"bad key {UPSTREAM_KEY}"}, ""),
    "long message": ({"message": "x" * 300_000}, ": " + "x" * 200),
    "long text": ("x" * 300_000, ": " + "x" * 200),
    "long message with the prompt": ({"message": PROMPT + "x" * 300_000}, ""),
}
WITHOUT_MESSAGE: dict[str, bytes] = {
    "nothing": b"",
    "white space": b" \r\n",
    "HTML": b"<html><body>no</body></html>",
    "text": b"no",
    "half of JSON": b'{"error": {"message": "the rea',
    "null": b"null",
    "array": b"[]",
    "object": b"{}",
    "base_resp null": b'{"base_resp": null}',
    "error null": b'{"error": null}',
    "error as a number": b'{"error": 5}',
}


def rows(values: Any) -> dict[str, Any]:
    return {"argvalues": values, "ids": lambda row: str(row.http_status)}


def assert_row(client: FlaskClient, endpoint: str, row: Row, quoted: str, retry_after: str | None) -> None:
    response = generate(client, endpoint)
    detail = "" if row.http_status in OPERATOR_ERRORS else f" (HTTP status {row.http_status}{quoted})"
    assert (response.status_code, response.json) == (row.status, envelope(f"{row.message}{detail}.", row.code))
    assert retry_headers(response) == (("true", retry_after) if row.retry else ("false", None))
    assert response.headers["x-minimax-trace-id"] == "trace-1"


def test_every_code_has_a_row() -> None:
    assert {row.http_status: row.code for row in ROWS}.items() <= ERROR_BODY_CODES.items()
    assert dict.fromkeys(ERROR_BODY_CODES.values()).keys() == {row.code for row in ROWS}
    assert set(ERROR_BODY_CODES) == {400, 401, 402, 403, 404, 422, 429, *range(500, 600)}
    assert set(STATUSES_WITH_ANY_BODY) == {401, 403}
    for row in ROWS:
        mapping = WITHOUT_CODE[row.code]
        assert (mapping.http_status, mapping.should_retry) == (row.status, row.retry)
        assert (mapping.outcome_unknown, mapping.is_operator_error) == (
            row.outcome_unknown,
            row.http_status in OPERATOR_ERRORS,
        )


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize(("error", "quoted"), ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize("row", **rows(ROWS))
def test_an_error_body_is_mapped_by_its_http_status(
    client: FlaskClient, upstream: FakeMinimax, row: Row, error: Any, quoted: str, endpoint: str
) -> None:
    headers = {"Trace-Id": "trace-1", "Retry-After": "17"}
    upstream.script = respond({"error": error, "more": 1}, status=row.http_status, headers=headers)
    assert_row(client, endpoint, row, quoted, "17")
    assert len(upstream.received) == 1


def test_a_rate_limit_without_retry_after_names_ten_seconds(client: FlaskClient, upstream: FakeMinimax) -> None:
    [row] = [row for row in ROWS if row.retry]
    upstream.script = respond({"error": {"message": "slow"}}, status=429, headers={"Trace-Id": "trace-1"})
    assert_row(client, "generations", row, ": slow", "10")


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("body", WITHOUT_MESSAGE.values(), ids=WITHOUT_MESSAGE)
@pytest.mark.parametrize("row", **rows([row for row in ROWS if row.http_status in (401, 403)]))
def test_a_401_or_403_needs_no_error_body(
    client: FlaskClient, upstream: FakeMinimax, row: Row, body: bytes, endpoint: str
) -> None:
    upstream.script = respond(body, status=row.http_status, headers={"Trace-Id": "trace-1", "Retry-After": "17"})
    assert_row(client, endpoint, row, "", None)
    assert len(upstream.received) == 1


@pytest.mark.parametrize("body", WITHOUT_MESSAGE.values(), ids=WITHOUT_MESSAGE)
@pytest.mark.parametrize("http_status", [400, 402, 404, 422, 500, 503])
def test_any_other_status_needs_one(client: FlaskClient, upstream: FakeMinimax, http_status: int, body: bytes) -> None:
    upstream.script = respond(body, status=http_status)
    response = generate(client)
    assert response.json
    assert (response.status_code, response.json["error"]["code"]) == (502, "upstream_invalid_answer")


@pytest.mark.parametrize("http_status", [200, 201, 202, 206, 300, 302, 405, 408, 409, 413, 418])
def test_an_error_body_with_any_other_status_is_not_understood(
    client: FlaskClient, upstream: FakeMinimax, http_status: int
) -> None:
    upstream.script = respond({"error": {"message": "the reason"}}, status=http_status)
    response = generate(client)
    message = f"MiniMax's response was not understood (HTTP status {http_status}, of another shape than documented)."
    assert (response.status_code, response.json) == (502, envelope(message, "upstream_invalid_answer"))


@pytest.mark.parametrize("http_status", [400, 401, 403, 429, 500])
def test_a_code_beats_an_error_body_beside_it(client: FlaskClient, upstream: FakeMinimax, http_status: int) -> None:
    document = {"base_resp": {"status_code": 1026, "status_msg": "no"}, "error": {"message": "the reason"}}
    upstream.script = respond(document, status=http_status)
    response = generate(client)
    message = "MiniMax rejected the request with code 1026: the prompt was withheld as sensitive (no)."
    assert (response.status_code, response.json) == (403, envelope(message, "1026"))


@pytest.mark.parametrize("body", [b"", b"no", json.dumps({"error": {"message": "key sk-up****"}}).encode()])
def test_a_rejected_key_is_logged_as_critical_and_its_message_is_not_quoted(
    client: FlaskClient, upstream: FakeMinimax, caplog: pytest.LogCaptureFixture, body: bytes
) -> None:
    upstream.script = respond(body, status=401, headers={"Trace-Id": "trace-2"})
    assert "****" not in generate(client).get_data(as_text=True)
    [record] = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert (
        record.message
        == "MiniMax rejected a key of the gateway: check MINIMAX_API_KEY or MINIMAX_API_KEYS, and MINIMAX_BASE_URL"
    )
    assert (record.__dict__["code"], record.__dict__["trace_id"]) == ("upstream_unauthorized", "trace-2")


def test_no_other_error_body_is_critical(
    client: FlaskClient, upstream: FakeMinimax, caplog: pytest.LogCaptureFixture
) -> None:
    for row in ROWS:
        if row.http_status not in OPERATOR_ERRORS:
            upstream.script = respond({"error": {"message": "the reason"}}, status=row.http_status)
            generate(client)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("row", **rows(ROWS))
def test_only_a_server_error_leaves_the_outcome_unknown(upstream: FakeMinimax, row: Row) -> None:
    upstream.script = respond({"error": {"message": "the reason"}}, status=row.http_status)
    with pytest.raises(MinimaxError) as caught:
        MinimaxClient(upstream.url, 30).generate_images({"prompt": "p", "response_format": "url"}, UPSTREAM_KEY)
    assert caught.value.outcome_unknown == row.outcome_unknown
