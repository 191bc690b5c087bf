"""Owns what MiniMax's codes mean for a caller, as data; the tests and the README's tables walk the same rows.

Source: MiniMax's image generation and error code documentation, and the contract's section 4.1.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ErrorMapping:
    """`retry_after` is in seconds and comes only with `should_retry`: trying again is then known to cost nothing.

    `is_operator_error` marks refusals that only the operator can mend: logged loudly, and told to the
    caller without MiniMax's own words. `outcome_unknown` marks what MiniMax's bill may hold a picture for.
    """

    meaning: str
    http_status: int
    should_retry: bool = False
    retry_after: int | None = None
    is_operator_error: bool = False
    outcome_unknown: bool = False


def _rate(meaning: str) -> ErrorMapping:
    # MiniMax counts by the minute; ten seconds spreads the callers who come back.
    return ErrorMapping(meaning, 429, should_retry=True, retry_after=10)


def _invalid(meaning: str) -> ErrorMapping:
    return ErrorMapping(meaning, 400)


STATUS_CODES: dict[int, ErrorMapping] = {
    1002: _rate("rate limit reached"),
    1039: _rate("token limit reached"),
    1041: _rate("connection limit reached"),
    2045: _rate("rate growth limit reached"),
    1008: ErrorMapping("insufficient balance", 429),
    1028: ErrorMapping("quota used up", 429),
    1030: ErrorMapping("quota used up", 429),
    2056: ErrorMapping("the plan's five-hour window is used up", 429),
    1004: ErrorMapping(
        "the gateway's own MiniMax key was refused; its operator has to mend this", 502, is_operator_error=True
    ),
    2049: ErrorMapping(
        "the gateway's own MiniMax key is invalid; its operator has to mend this", 502, is_operator_error=True
    ),
    1026: ErrorMapping("the prompt was withheld as sensitive", 403),
    1027: ErrorMapping("the picture was withheld as sensitive", 403),
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

UNKNOWN_CODE = ErrorMapping("unknown refusal", 502)

# What went wrong where there is no usable code; keyed by the envelope's `code`.
WITHOUT_CODE: dict[str, ErrorMapping] = {
    "upstream_unreachable": ErrorMapping(
        "MiniMax could not be reached; nothing was sent", 503, should_retry=True, retry_after=5
    ),
    "upstream_interrupted": ErrorMapping(
        "the connection to MiniMax broke before the whole answer came; "
        "the picture may have been drawn, and charged to the gateway",
        502,
        outcome_unknown=True,
    ),
    "upstream_deadline": ErrorMapping(
        "MiniMax did not answer within the deadline; the picture may have been drawn, and charged to the gateway",
        502,
        outcome_unknown=True,
    ),
    "upstream_invalid_answer": ErrorMapping("MiniMax's answer was not understood", 502, outcome_unknown=True),
    "upstream_rate_limited": ErrorMapping("MiniMax answered 429 without a code", 429),
    "content_withheld": ErrorMapping("MiniMax withheld every picture as sensitive", 403),
    "answer_not_stored": ErrorMapping(
        "there is no room left to keep MiniMax's answer; the picture has been drawn and may be charged",
        503,
        outcome_unknown=True,
    ),
    "nothing_delivered": ErrorMapping("MiniMax reported success but delivered no picture", 502),
}
