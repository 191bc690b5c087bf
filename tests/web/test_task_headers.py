"""`Idempotency-Key`, `Prefer` and the SDKs' retry count, as they may be sent."""

from __future__ import annotations

import pytest
from flask import Flask

from app.errors import InvalidRequest
from app.web.task_headers import IDEMPOTENCY_KEY, RETRY_COUNT, idempotency_key, prefers_async, retry_count

APP = Flask(__name__)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [([], None), (["k"], "k"), (["k" * 255], "k" * 255), (["a, b;c~ !"], "a, b;c~ !")],
    ids=["none", "short", "longest", "punctuation"],
)
def test_idempotency_key(sent: list[str], expected: str | None) -> None:
    with APP.test_request_context(headers=[(IDEMPOTENCY_KEY, value) for value in sent]):
        assert idempotency_key() == expected


# WSGI passes a header's bytes as Latin-1, and joins headers of one name with commas.
@pytest.mark.parametrize("sent", ["", "k" * 256, "a\tb", "a\x7f", "schl\xfcssel"], ids=ascii)
def test_invalid_idempotency_key(sent: str) -> None:
    with (
        APP.test_request_context(environ_overrides={"HTTP_IDEMPOTENCY_KEY": sent}),
        pytest.raises(InvalidRequest) as caught,
    ):
        idempotency_key()
    assert caught.value.param == IDEMPOTENCY_KEY


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (None, 0),
        ("0", 0),
        ("1", 1),
        ("12", 12),
        ("999", 999),
        ("1000", 0),
        ("", 0),
        ("-1", 0),
        ("+1", 0),
        ("1.0", 0),
        ("one", 0),
        ("1, 2", 0),
        ("\xb2", 0),  # a superscript two, which is a digit to str.isdigit
    ],
    ids=ascii,
)
def test_retry_count(sent: str | None, expected: int) -> None:
    with APP.test_request_context(headers={} if sent is None else {RETRY_COUNT: sent}):
        assert retry_count() == expected


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ([], False),
        (["respond-async"], True),
        (["Respond-Async"], True),
        (["respond-async; foo=bar"], True),
        (["wait=10, respond-async"], True),
        (["handling=lenient,respond-async , wait=10"], True),
        (["wait=10", "respond-async"], True),
        ([""], False),
        (["wait=10"], False),
        (["respond-asynchronously"], False),
        (["return=respond-async"], False),
        (['x="a, respond-async, b"'], False),
    ],
    ids=str,
)
def test_prefers_async(sent: list[str], expected: bool) -> None:
    with APP.test_request_context(headers=[("Prefer", value) for value in sent]):
        assert prefers_async() == expected
