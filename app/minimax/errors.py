"""`MinimaxError`: MiniMax rejected the call, or the call failed on the way."""

from __future__ import annotations

from app.errors import MAX_RETRY_AFTER_SECONDS, UpstreamError
from app.minimax.error_codes import STATUS_CODES, UNKNOWN_CODE, WITHOUT_CODE, ErrorMapping
from app.spooling.spooled_text import SpooledText

MAX_QUOTED_CHARS = 200
SCANNED_CHARS = 4096  # of a message, and of a secret whose parts are looked for: an image has millions
_MIN_LEAKED_CHARS = 12  # a message with this many characters in common with a secret quotes it


class MinimaxError(UpstreamError):
    """An error with the status, retry policy and billing outcome of its code.

    `code` is MiniMax's number (unknown numbers are allowed) or a word of `WITHOUT_CODE`.
    """

    def __init__(self, code: int | str, *, detail: str = "", retry_after: str | None = None) -> None:
        """`detail` is quoted to the caller, except in an operator's error.

        `retry_after` is MiniMax's own header; it replaces the mapping's seconds where the mapping allows a retry.
        """
        mapping = STATUS_CODES.get(code, UNKNOWN_CODE) if isinstance(code, int) else WITHOUT_CODE[code]
        super().__init__(_message(code, mapping, detail), code=str(code))
        self.http_status = mapping.http_status
        self.should_retry = mapping.should_retry
        self.is_operator_error = mapping.is_operator_error
        self.outcome_unknown = mapping.outcome_unknown
        self.is_final = mapping.is_final
        self.key_fault = mapping.key_fault
        self.key_rest_seconds = _parse_seconds(retry_after)
        if mapping.retry_after is not None:
            seconds = self.key_rest_seconds if self.key_rest_seconds is not None else mapping.retry_after
            self.retry_after = min(max(seconds, 1), MAX_RETRY_AFTER_SECONDS)


def _message(code: int | str, mapping: ErrorMapping, detail: str) -> str:
    if isinstance(code, int):
        summary = f"MiniMax rejected the request with code {code}: {mapping.meaning}"
    else:
        summary = mapping.meaning[0].upper() + mapping.meaning[1:]
    return f"{summary} ({detail})." if detail and not mapping.is_operator_error else f"{summary}."


def _parse_seconds(header: str | None) -> int | None:
    digits = (header or "").strip()
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) <= 9 else None


def error_of_code(code: str) -> MinimaxError:
    """The error with this `code`, a number or a word, as another call has met it."""
    return MinimaxError(int(code) if code not in WITHOUT_CODE else code)


def redact_status_message(status_msg: object, secrets: tuple[str, ...]) -> str:
    """MiniMax's message on one line, cut to `MAX_QUOTED_CHARS`.

    Empty for anything but a string, and for a message that repeats a part of a secret: the key, the prompt, an image.
    """
    if isinstance(status_msg, SpooledText):
        status_msg = status_msg.head(SCANNED_CHARS)
    message = _one_line(status_msg)[:MAX_QUOTED_CHARS] if isinstance(status_msg, str) else ""
    return "" if any(_quotes(message, _one_line(secret)) for secret in secrets) else message


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text[:SCANNED_CHARS]).split())


def _quotes(message: str, secret: str) -> bool:
    run = min(_MIN_LEAKED_CHARS, len(secret))
    return run > 0 and any(message[i : i + run] in secret for i in range(len(message) - run + 1))
