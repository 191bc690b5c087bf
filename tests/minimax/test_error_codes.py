"""The contract's table 4.1: the caller's response to each of MiniMax's error codes."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import Any

import pytest

from app.minimax.error_codes import STATUS_CODES, WITHOUT_CODE, ErrorMapping
from app.minimax.errors import MinimaxError
from tests.conftest import MakeClient
from tests.minimax.calls import ENDPOINTS, assert_error, envelope, generate, retry_headers
from tests.support.fake_minimax import FakeMinimax, error_response, respond
from tests.support.processes import ROOT


@dataclass(frozen=True)
class Row:
    codes: tuple[int, ...]
    status: int
    retry: bool = False


TABLE = (
    Row((1002, 1039, 1041, 2045), 429, retry=True),
    Row((1008, 1028, 1030), 429),
    Row((2056,), 429),
    Row((1004, 2049), 502),
    Row((1026, 1027), 403),
    Row((2061, 2038, 2042), 403),
    Row((2013, 1042, 20132, 2037, 2039, 2048, 1043, 1044), 400),
    Row((1000, 1013, 1024), 500),
    Row((1001,), 503),
    Row((1033,), 503, retry=True),
)
ROWS = [(code, row.status, row.retry) for row in TABLE for code in row.codes]
UNKNOWN = (1, -1, 999, 1003, 4242, 999_999_999)
OPERATOR_CODES = (1004, 2049)

WORDS = {
    "upstream_unreachable": (503, True),
    "upstream_interrupted": (502, False),
    "upstream_deadline": (502, False),
    "upstream_invalid_answer": (502, False),
    "upstream_rate_limited": (429, False),
    "upstream_rejected_request": (400, False),
    "upstream_unauthorized": (502, False),
    "upstream_payment_required": (429, False),
    "upstream_forbidden": (403, False),
    "upstream_not_found": (502, False),
    "upstream_too_many_requests": (429, True),
    "upstream_server_error": (502, False),
    "content_withheld": (403, False),
    "answer_not_stored": (503, False),
    "nothing_delivered": (502, False),
}


def test_error_codes_match_contract() -> None:
    ours = {code: (mapping.http_status, mapping.should_retry) for code, mapping in STATUS_CODES.items()}
    assert ours == {code: (status, retry) for code, status, retry in ROWS}


def test_errors_without_code_match_contract() -> None:
    assert {word: (mapping.http_status, mapping.should_retry) for word, mapping in WITHOUT_CODE.items()} == WORDS


def test_retry_after_is_set_exactly_where_a_retry_is_allowed() -> None:
    for mapping in (*STATUS_CODES.values(), *WITHOUT_CODE.values()):
        assert (mapping.retry_after is not None) == mapping.should_retry
        assert mapping.retry_after is None or 1 <= mapping.retry_after <= 60


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize(("code", "status", "retry"), ROWS)
def test_a_code_is_mapped_to_status_message_and_retry_headers(
    make_client: MakeClient, upstream: FakeMinimax, endpoint: str, code: int, status: int, retry: bool
) -> None:
    upstream.script = respond(error_response(code, "a reason"), headers={"Trace-Id": "trace-1", "Retry-After": "17"})
    response = generate(make_client(), endpoint)

    reason = "" if code in OPERATOR_CODES else " (a reason)"
    message = f"MiniMax rejected the request with code {code}: {STATUS_CODES[code].meaning}{reason}."
    assert (response.status_code, response.json) == (status, envelope(message, str(code)))
    assert retry_headers(response) == (("true", "17") if retry else ("false", None))
    assert response.headers["x-minimax-trace-id"] == "trace-1"
    assert len(upstream.received) == 1


@pytest.mark.parametrize("http_status", [400, 401, 403, 404, 422, 429, 500, 502, 503, 507])
def test_a_code_takes_precedence_over_the_http_status(
    make_client: MakeClient, upstream: FakeMinimax, http_status: int
) -> None:
    client = make_client()
    for code, status, retry in ((1002, 429, True), (1008, 429, False), (1004, 502, False), (1026, 403, False)):
        upstream.script = respond(error_response(code), status=http_status)
        assert_error(generate(client), status, str(code), retry=retry)


@pytest.mark.parametrize(("code", "status", "retry"), ROWS)
def test_a_code_may_be_a_string(
    make_client: MakeClient, upstream: FakeMinimax, code: int, status: int, retry: bool
) -> None:
    upstream.script = respond(error_response(str(code)))
    assert_error(generate(make_client()), status, str(code), retry=retry)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("code", UNKNOWN)
def test_an_unknown_code_is_502(make_client: MakeClient, upstream: FakeMinimax, endpoint: str, code: int) -> None:
    upstream.script = respond(error_response(code, "new words"), headers={"Retry-After": "1"})
    message = assert_error(generate(make_client(), endpoint), 502, str(code))
    assert message == f"MiniMax rejected the request with code {code}: unknown error code (new words)."
    assert len(upstream.received) == 1


@pytest.mark.parametrize("code", OPERATOR_CODES)
def test_a_rejected_operator_key_is_logged_as_critical_and_not_quoted(
    make_client: MakeClient, upstream: FakeMinimax, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    upstream.script = respond(error_response(code, "key upst****ests is not valid"), headers={"Trace-Id": "trace-2"})
    response = generate(make_client())
    assert "****" not in assert_error(response, 502, str(code))
    (record,) = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert (record.__dict__["code"], record.__dict__["trace_id"]) == (str(code), "trace-2")


def test_no_other_code_is_logged_as_an_error(
    make_client: MakeClient, upstream: FakeMinimax, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client()
    for code in set(STATUS_CODES) - set(OPERATOR_CODES) | set(UNKNOWN):
        upstream.script = respond(error_response(code))
        generate(client)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


# The Retry-After that MiniMax sends, and the one that callers get: always 1 to 60 seconds.
RETRY_AFTER: tuple[tuple[str | None, int], ...] = (
    ("1", 1),
    ("60", 60),
    (" 30 ", 30),
    ("007", 7),
    ("0", 1),
    ("61", 60),
    ("86400", 60),
    (None, 10),
    ("", 10),
    ("-5", 10),
    ("1.5", 10),
    ("soon", 10),
    ("Wed, 21 Oct 2026 07:28:00 GMT", 10),
    ("1, 2", 10),
    ("9" * 5000, 10),
    ("\xb2", 10),
)


@pytest.mark.parametrize(("sent", "returned"), RETRY_AFTER, ids=[repr(sent)[:20] for sent, _ in RETRY_AFTER])
def test_minimax_retry_after_is_passed_on_up_to_a_minute(
    make_client: MakeClient, upstream: FakeMinimax, sent: str | None, returned: int
) -> None:
    headers: dict[str, str] = {} if sent is None else {"Retry-After": sent}
    upstream.script = respond(error_response(1002), headers=headers)
    response = generate(make_client())
    assert_error(response, 429, "1002", retry=True)
    assert response.headers["Retry-After"] == str(returned)


def test_every_operator_error_raises_the_alert() -> None:
    alerts = (ROOT / "deploy" / "alerts.yml").read_text()
    [codes] = re.findall(r'AmuxOperatorKeyRefused\n +expr: >-\n.*\{code=~"([^"]*)"', alerts)
    mappings: dict[Any, ErrorMapping] = {**STATUS_CODES, **WITHOUT_CODE}
    assert set(codes.split("|")) == {str(code) for code, mapping in mappings.items() if mapping.is_operator_error}, (
        "edit the alert AmuxOperatorKeyRefused in deploy/alerts.yml"
    )


@pytest.mark.parametrize("code", [*STATUS_CODES, *UNKNOWN, *WITHOUT_CODE])
def test_no_code_maps_to_success_or_401(code: Any) -> None:
    error = MinimaxError(code)
    assert 400 <= error.http_status < 600
    assert error.http_status != 401
