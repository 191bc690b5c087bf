"""Request headers about tasks: `Idempotency-Key`, `Prefer: respond-async`, and the SDKs' retry count."""

from __future__ import annotations

import re

from flask import request
from werkzeug.http import parse_set_header

from app.errors import InvalidRequest

IDEMPOTENCY_KEY = "Idempotency-Key"
# The OpenAI SDKs send it with each attempt: 0, then 1 and up.
RETRY_COUNT = "x-stainless-retry-count"

_KEY_PATTERN = re.compile(r"[\x20-\x7e]{1,255}", re.ASCII)


def idempotency_key() -> str | None:
    """The header's value, None without the header. Raises `InvalidRequest` unless it is 1 to 255 printable ASCII."""
    value = request.headers.get(IDEMPOTENCY_KEY)
    if value is not None and not _KEY_PATTERN.fullmatch(value):
        raise InvalidRequest(f"{IDEMPOTENCY_KEY} must be 1 to 255 printable ASCII characters.", param=IDEMPOTENCY_KEY)
    return value


def retry_count() -> int:
    """How often the SDK has tried before, 0 if it does not say so."""
    sent = request.headers.get(RETRY_COUNT, "")
    return int(sent) if sent.isascii() and sent.isdecimal() and len(sent) < 4 else 0


def prefers_async() -> bool:
    """Whether the request says `Prefer: respond-async` (RFC 7240)."""
    sent = request.headers.get("Prefer")
    if sent is None:
        return False
    preferences = parse_set_header(sent)
    return any(preference.partition(";")[0].strip().lower() == "respond-async" for preference in preferences)
