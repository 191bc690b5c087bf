"""MiniMax error codes mapped to HTTP status, retry policy and billing outcome.

The tests and the documentation's tables walk the same rows. Source: MiniMax's image generation and error code
documentation, and the contract's sections 3 and 4.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ErrorMapping:
    """What the caller gets for one of MiniMax's codes, or for a failure without a code.

    `retry_after` is in seconds and is set exactly where `should_retry` is: a retry then costs nothing.
    `is_operator_error` marks errors that only the operator can correct: they are logged as critical, and MiniMax's own
    message is not shown to the caller. `outcome_unknown` marks calls for which MiniMax may have billed an image.
    `is_final` marks a verdict on the request itself, which the same request would meet again. `key_fault` is that of
    `UpstreamError`: the key rests, and the call goes on with another one.
    """

    meaning: str
    http_status: int
    should_retry: bool = False
    retry_after: int | None = None
    is_operator_error: bool = False
    outcome_unknown: bool = False
    is_final: bool = False
    key_fault: Literal["rate", "account", "refused"] | None = None


def _rate(meaning: str) -> ErrorMapping:
    # MiniMax's rate limits are per minute; ten seconds spread the retries.
    return ErrorMapping(meaning, 429, should_retry=True, retry_after=10, key_fault="rate")


def _account(meaning: str) -> ErrorMapping:
    return ErrorMapping(meaning, 429, key_fault="account")


def _invalid(meaning: str) -> ErrorMapping:
    return ErrorMapping(meaning, 400, is_final=True)


def _withheld(meaning: str) -> ErrorMapping:
    return ErrorMapping(meaning, 403, is_final=True)


def _operator(meaning: str) -> ErrorMapping:
    return ErrorMapping(f"{meaning}; contact the operator", 502, is_operator_error=True, key_fault="refused")


def _unknown_outcome(meaning: str, http_status: int = 502) -> ErrorMapping:
    return ErrorMapping(meaning, http_status, outcome_unknown=True)


# Keyed by `base_resp.status_code`.
STATUS_CODES: dict[int, ErrorMapping] = {
    1002: _rate("rate limit reached"),
    1039: _rate("token limit reached"),
    1041: _rate("connection limit reached"),
    2045: _rate("rate growth limit reached"),
    1008: _account("insufficient balance"),
    1028: _account("quota used up"),
    1030: _account("quota used up"),
    2056: _account("the plan's five-hour window is used up"),
    1004: _operator("the gateway's own MiniMax key was rejected"),
    2049: _operator("the gateway's own MiniMax key is invalid"),
    1026: _withheld("the prompt was withheld as sensitive"),
    1027: _withheld("the image was withheld as sensitive"),
    2061: ErrorMapping("the account may not use this model", 403),
    2038: ErrorMapping("the account may not use this feature", 403),
    2042: ErrorMapping("the account has no access to this resource", 403),
    2013: _invalid("invalid parameters"),
    1042: _invalid("too many invisible or illegal characters"),
    20132: _invalid("invalid sample or voice parameters"),
    2037: _invalid("an input is too short or too long"),
    2039: _invalid("a duplicate or invalid identifier"),
    2048: _invalid("an input is too long"),
    1043: _invalid("an input does not match"),
    1044: _invalid("inputs are not similar enough"),
    1000: ErrorMapping("unknown internal error", 500),
    1013: ErrorMapping("internal service error", 500),
    1024: ErrorMapping("internal error", 500),
    1001: ErrorMapping("MiniMax timed out", 503),
    1033: ErrorMapping("a service behind MiniMax failed", 503, should_retry=True, retry_after=5),
}

UNKNOWN_CODE = ErrorMapping("unknown error code", 502)

# Failures without a usable status code; keyed by the envelope's `code`.
WITHOUT_CODE: dict[str, ErrorMapping] = {
    "upstream_unreachable": ErrorMapping(
        "MiniMax could not be reached; nothing was sent", 503, should_retry=True, retry_after=5
    ),
    "upstream_interrupted": _unknown_outcome(
        "the connection to MiniMax broke before the response was complete; "
        "the image may have been generated, and charged to the gateway"
    ),
    "upstream_deadline": _unknown_outcome(
        "MiniMax did not respond within the deadline; the image may have been generated, and charged to the gateway"
    ),
    "upstream_invalid_answer": _unknown_outcome("MiniMax's response was not understood"),
    "upstream_rate_limited": ErrorMapping("MiniMax responded with 429 and no code", 429, key_fault="rate"),
    "upstream_rejected_request": _invalid("MiniMax rejected the request as invalid"),
    "upstream_unauthorized": _operator("MiniMax rejected the gateway's own key"),
    "upstream_payment_required": _account("the gateway's MiniMax account has no balance or quota left"),
    "upstream_forbidden": ErrorMapping("MiniMax denied the request", 403),
    "upstream_not_found": ErrorMapping("MiniMax did not find the endpoint or the model", 502),
    "upstream_too_many_requests": _rate("MiniMax's rate limit was reached"),
    "upstream_server_error": _unknown_outcome(
        "MiniMax had an internal error; the image may have been generated, and charged to the gateway"
    ),
    "content_withheld": _withheld("MiniMax withheld every image as sensitive"),
    "answer_not_stored": _unknown_outcome(
        "there is no room left to store MiniMax's response; the image was generated and may be charged", 503
    ),
    "nothing_delivered": ErrorMapping("MiniMax reported success but delivered no image", 502),
}

# The code of an `{"error": {"message"}}` response without `base_resp`, by its HTTP status.
ERROR_BODY_CODES: dict[int, str] = {
    400: "upstream_rejected_request",
    401: "upstream_unauthorized",
    402: "upstream_payment_required",
    403: "upstream_forbidden",
    404: "upstream_not_found",
    422: "upstream_rejected_request",
    429: "upstream_too_many_requests",
    **dict.fromkeys(range(500, 600), "upstream_server_error"),
}

# These HTTP statuses mean the same with any other body, or with none.
STATUSES_WITH_ANY_BODY = (401, 403)
