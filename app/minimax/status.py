"""Owns what MiniMax's codes mean for a caller, as data; the tests and the README's tables walk the same rows.

Source: MiniMax's image generation and error code documentation, and the contract's section 4.1.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """`retry_after` is in seconds and comes only with `should_retry`: trying again is then known to cost nothing.

    `operators_fault` marks refusals that only the operator can mend: logged loudly, and told to the
    caller without MiniMax's own words. `may_have_drawn` marks what MiniMax's bill may hold a picture for.
    """

    meaning: str
    http_status: int
    should_retry: bool = False
    retry_after: int | None = None
    operators_fault: bool = False
    may_have_drawn: bool = False


def _rate(meaning: str) -> Verdict:
    # MiniMax counts by the minute; ten seconds spreads the callers who come back.
    return Verdict(meaning, 429, should_retry=True, retry_after=10)


def _invalid(meaning: str) -> Verdict:
    return Verdict(meaning, 400)


STATUS_CODES: dict[int, Verdict] = {
    1002: _rate("rate limit reached"),
    1039: _rate("token limit reached"),
    1041: _rate("connection limit reached"),
    2045: _rate("rate growth limit reached"),
    1008: Verdict("insufficient balance", 429),
    1028: Verdict("quota used up", 429),
    1030: Verdict("quota used up", 429),
    2056: Verdict("the plan's five-hour window is used up", 429),
    1004: Verdict(
        "the gateway's own MiniMax key was refused; its operator has to mend this", 502, operators_fault=True
    ),
    2049: Verdict("the gateway's own MiniMax key is invalid; its operator has to mend this", 502, operators_fault=True),
    1026: Verdict("the prompt was withheld as sensitive", 403),
    1027: Verdict("the picture was withheld as sensitive", 403),
    2061: Verdict("the account may not use this model", 403),
    2038: Verdict("the account may not use this feature", 403),
    2042: Verdict("the account has no access to this resource", 403),
    2013: _invalid("invalid parameters"),
    1042: _invalid("too many invisible or illegal characters"),
    20132: _invalid("invalid sample or voice parameters"),
    2037: _invalid("an input is too short or too long"),
    2039: _invalid("a duplicate or invalid identifier"),
    2048: _invalid("an input is too long"),
    1043: _invalid("an input does not match"),
    1044: _invalid("inputs are not similar enough"),
    1000: Verdict("unknown internal error", 500),
    1013: Verdict("internal service error", 500),
    1024: Verdict("internal error", 500),
    1001: Verdict("MiniMax timed out", 503),
    1033: Verdict("a service behind MiniMax failed", 503, should_retry=True, retry_after=5),
}

UNKNOWN_CODE = Verdict("unknown refusal", 502)

# What went wrong where there is no usable code; keyed by the envelope's `code`.
WITHOUT_CODE: dict[str, Verdict] = {
    "upstream_unreachable": Verdict(
        "MiniMax could not be reached; nothing was sent", 503, should_retry=True, retry_after=5
    ),
    "upstream_interrupted": Verdict(
        "the connection to MiniMax broke before the whole answer came; "
        "the picture may have been drawn, and charged to the gateway",
        502,
        may_have_drawn=True,
    ),
    "upstream_deadline": Verdict(
        "MiniMax did not answer within the deadline; the picture may have been drawn, and charged to the gateway",
        502,
        may_have_drawn=True,
    ),
    "upstream_invalid_answer": Verdict("MiniMax's answer was not understood", 502, may_have_drawn=True),
    "upstream_rate_limited": Verdict("MiniMax answered 429 without a code", 429),
    "content_withheld": Verdict("MiniMax withheld every picture as sensitive", 403),
    "answer_not_stored": Verdict(
        "there is no room left to keep MiniMax's answer; the picture has been drawn and may be charged",
        503,
        may_have_drawn=True,
    ),
    "nothing_delivered": Verdict("MiniMax reported success but delivered no picture", 502),
}
