"""Owns `MinimaxError`: MiniMax's refusal, or the wire's failure, as one `GatewayError`."""

from __future__ import annotations

from app.errors import GatewayError
from app.minimax.status import STATUS_CODES, UNKNOWN_CODE, WITHOUT_CODE, Verdict

MAX_QUOTED_CHARS = 200
MAX_RETRY_AFTER_SECONDS = 60  # the OpenAI SDKs obey no longer wait


class MinimaxError(GatewayError):
    """`code` is MiniMax's number, or a word of `WITHOUT_CODE`. `trace_id` and `upstream_ms` are for the log."""

    trace_id: str | None = None
    upstream_ms: int | None = None

    def __init__(self, code: int | str, *, detail: str = "", retry_after: str | None = None) -> None:
        """`detail` is quoted to the caller; `retry_after` is MiniMax's own header, used where the table retries."""
        verdict = STATUS_CODES.get(code, UNKNOWN_CODE) if isinstance(code, int) else WITHOUT_CODE[code]
        super().__init__(_message(code, verdict, detail), code=str(code))
        self.http_status = verdict.http_status
        self.should_retry = verdict.should_retry
        self.operators_fault = verdict.operators_fault
        if verdict.retry_after is not None:
            self.retry_after = _seconds(retry_after, verdict.retry_after)


def _message(code: int | str, verdict: Verdict, detail: str) -> str:
    if isinstance(code, int):
        opening = f"MiniMax refused with code {code}: {verdict.meaning}"
    else:
        opening = verdict.meaning[0].upper() + verdict.meaning[1:]
    return f"{opening} ({detail})." if detail and not verdict.operators_fault else f"{opening}."


def _seconds(header: str | None, default: int) -> int:
    if header is None or not (header.isascii() and header.isdecimal()) or len(header) > 9:
        return default
    return min(max(int(header), 1), MAX_RETRY_AFTER_SECONDS)


def quotable(status_msg: str, secrets: tuple[str, ...]) -> str:
    """MiniMax's own words, cut short; nothing where they repeat a secret (the key, the prompt, a picture)."""
    if any(secret and secret in status_msg for secret in secrets):
        return ""
    return " ".join("".join(c if c.isprintable() else " " for c in status_msg).split())[:MAX_QUOTED_CHARS]
