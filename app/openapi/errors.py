"""The error codes of each group of operations, with their status and whether a retry is safe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from itertools import groupby
from typing import Any

from app import errors
from app.errors import GatewayError
from app.openapi.error_texts import MEANINGS, RETRY_EXCEPTIONS
from app.openapi.headers import CALL_HEADERS, ERROR_HEADERS, STATUS_HEADERS, references
from app.server.protocol_errors import PROTOCOL_ERRORS

# Codes are in this extension of the document, and of each of its error responses.
EXTENSION = "x-errorCodes"


@dataclass(frozen=True)
class ErrorCode:
    """`meaning` is a sentence without its full stop, in Markdown."""

    code: str
    http_status: int
    should_retry: bool
    meaning: str


# Codes of werkzeug's exceptions, and of malformed bodies: they have no class of their own.
OTHERS = (
    ErrorCode("bad_request", 400, False, "malformed HTTP, or a body that ends before its `Content-Length`"),
    ErrorCode("invalid_json", 400, False, "the body is not a JSON object, or has a field twice"),
    ErrorCode("invalid_form", 400, False, "the form is broken or cut short"),
    ErrorCode("not_found", 404, False, "no such path: a base URL ends in `/v1`"),
    ErrorCode("method_not_allowed", 405, False, "another method"),
    ErrorCode("request_timeout", 408, False, "the body takes too long to arrive"),
    ErrorCode("precondition_failed", 412, False, "the image has another `ETag` than `If-Match` has"),
    ErrorCode("request_entity_too_large", 413, False, "a body over 16 MiB, or a form of too many parts"),
    ErrorCode("requested_range_not_satisfiable", 416, False, "a range outside of the image"),
    *(ErrorCode(each.code, each.status, False, each.message.rstrip(".")) for each in PROTOCOL_ERRORS.values()),
)
NEVER_SENT = "caller_gone"  # its caller has left, so it is in logs only

EVERY = ("bad_request", "internal_error", *(each.code for each in PROTOCOL_ERRORS.values()))
KEYED = (*EVERY, "invalid_api_key", "storage_unavailable")
STORED_ANSWER = ("answer_expired", "not_started", "outcome_unknown", "answer_not_stored")
CALL = (
    *KEYED,
    *("invalid_value", "invalid_json", "model_not_authorized", "request_timeout", "request_entity_too_large"),
    *("unsupported_media_type", "idempotency_key_reused", "rate_limit_exceeded", "insufficient_balance"),
    *("upstream_busy", "gateway_full", "shutting_down", "storage_full", "image_store_unavailable"),
    *STORED_ANSWER,
)
# By the name of a group of operations. Those of image calls also have the codes of MiniMax.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "Public": EVERY,
    "Listing": KEYED,
    "Generation": CALL,
    "Edit": (*CALL, "invalid_form"),
    "Model": (*KEYED, "model_not_found", "not_found"),
    "Tasks": (*KEYED, "invalid_value"),
    "Task": (*KEYED, "invalid_value", "task_not_found", "not_found", "answer_expired"),
    "TaskWithdrawal": (*KEYED, "task_not_found", "not_found", "task_not_withdrawn"),
    "Usage": (*KEYED, "invalid_value", "usage_busy"),
    "KeptImage": (
        *(*EVERY, "image_not_found", "not_found", "image_store_unavailable"),
        *("precondition_failed", "requested_range_not_satisfiable"),
    ),
    "KeptImageDeletion": (*KEYED, "image_not_found", "not_found", "method_not_allowed", "image_store_unavailable"),
}
CALLS = ("Generation", "Edit")


def gateway_codes() -> tuple[ErrorCode, ...]:
    """The codes of the gateway: those of `app.errors`, and `OTHERS`. Raises `KeyError` for a code without a text."""
    classes = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, GatewayError)]
    own = [each for each in classes if "code" in vars(each) and each.code != NEVER_SENT]
    return (*(ErrorCode(each.code, each.http_status, each.should_retry, MEANINGS[each.code]) for each in own), *OTHERS)


def error_responses(upstream: Iterable[ErrorCode]) -> dict[str, dict[str, dict[str, Any]]]:
    """The responses of each group, by status. `upstream` are the codes of failed calls to MiniMax."""
    upstream = tuple(upstream)
    known = {each.code: each for each in gateway_codes()}
    return {
        group: _by_status(
            [*(known[name] for name in names), *(upstream if group in CALLS else ())],
            CALL_HEADERS if group in CALLS else (),
        )
        for group, names in GROUPS.items()
    }


def code_table(codes: Iterable[ErrorCode]) -> dict[str, dict[str, Any]]:
    return {each.code: _row(each) for each in codes}


def _row(code: ErrorCode) -> dict[str, Any]:
    row = {"status": code.http_status, "should_retry": code.should_retry, "meaning": code.meaning}
    return row | ({"retry_exception": RETRY_EXCEPTIONS[code.code]} if code.code in RETRY_EXCEPTIONS else {})


def _by_status(codes: Iterable[ErrorCode], more_headers: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    unique = sorted({each.code: each for each in codes}.values(), key=lambda each: each.http_status)
    return {
        str(status): _response(status, list(group), more_headers)
        for status, group in groupby(unique, lambda each: each.http_status)
    }


def _response(status: int, codes: list[ErrorCode], more_headers: tuple[str, ...]) -> dict[str, Any]:
    return {
        "description": "\n\n".join([f"{HTTPStatus(status).phrase}.", *_lists(codes)]),
        "headers": references((*ERROR_HEADERS, *more_headers, *STATUS_HEADERS.get(status, ()))),
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
        EXTENSION: [each.code for each in codes],
    }


def _lists(codes: list[ErrorCode]) -> list[str]:
    """A list in Markdown of the codes that are not retried, and one of those that are."""
    found = []
    for title, retried in (("Not retried:", False), ("Retried:", True)):
        lines = [_line(each) for each in codes if each.should_retry is retried]
        if lines:
            found += [title, "\n".join(lines)]
    return found


def _line(code: ErrorCode) -> str:
    exception = RETRY_EXCEPTIONS.get(code.code)
    return f"- `{code.code}`: {code.meaning}." + (f" Not retried: {exception}." if exception else "")
