"""Owns `MinimaxError`: MiniMax's refusal, or the wire's failure, as one `GatewayError`."""

from __future__ import annotations

from app.errors import UpstreamError
from app.minimax.error_codes import STATUS_CODES, UNKNOWN_CODE, WITHOUT_CODE, ErrorMapping

MAX_QUOTED_CHARS = 200
SCANNED_CHARS = 4096  # of a message, and of a secret whose parts are looked for: a picture has millions
_TELLING_RUN = 12  # this many characters in common with a secret are a quotation of it
MAX_RETRY_AFTER_SECONDS = 60  # the OpenAI SDKs obey no longer wait


class MinimaxError(UpstreamError):
    """`code` is MiniMax's number, or a word of `WITHOUT_CODE`. `trace_id` and `upstream_ms` are for the log."""

    def __init__(self, code: int | str, *, detail: str = "", retry_after: str | None = None) -> None:
        """`detail` is quoted to the caller; `retry_after` is MiniMax's own header, used where the table retries."""
        verdict = STATUS_CODES.get(code, UNKNOWN_CODE) if isinstance(code, int) else WITHOUT_CODE[code]
        super().__init__(_message(code, verdict, detail), code=str(code))
        self.http_status = verdict.http_status
        self.should_retry = verdict.should_retry
        self.is_operator_error = verdict.is_operator_error
        self.outcome_unknown = verdict.outcome_unknown
        if verdict.retry_after is not None:
            self.retry_after = _seconds(retry_after, verdict.retry_after)


def _message(code: int | str, verdict: ErrorMapping, detail: str) -> str:
    if isinstance(code, int):
        opening = f"MiniMax refused with code {code}: {verdict.meaning}"
    else:
        opening = verdict.meaning[0].upper() + verdict.meaning[1:]
    return f"{opening} ({detail})." if detail and not verdict.is_operator_error else f"{opening}."


def _seconds(header: str | None, default: int) -> int:
    digits = (header or "").strip()
    if not (digits.isascii() and digits.isdecimal()) or len(digits) > 9:
        return default
    return min(max(int(digits), 1), MAX_RETRY_AFTER_SECONDS)


def redact_status_message(status_msg: object, secrets: tuple[str, ...]) -> str:
    """MiniMax's own words, cut short; nothing where they repeat a part of a secret (the key, the prompt, a picture)."""
    words = _one_line(status_msg)[:MAX_QUOTED_CHARS] if isinstance(status_msg, str) else ""
    return "" if any(_quotes(words, _one_line(secret)) for secret in secrets) else words


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text[:SCANNED_CHARS]).split())


def _quotes(words: str, secret: str) -> bool:
    run = min(_TELLING_RUN, len(secret))
    return run > 0 and any(words[i : i + run] in secret for i in range(len(words) - run + 1))
