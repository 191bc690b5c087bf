"""Owns the bearer header: who is calling, or 401."""

from __future__ import annotations

from collections.abc import Callable

from flask import request

from app.accounts.caller import Callers
from app.request_log import current_record


def bearer_token(header: str) -> str:
    """The token of an Authorization header, or an empty string."""
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def create_authenticator(callers: Callers) -> Callable[[], None]:
    """A `before_request` that lets only known callers pass. It raises `InvalidApiKey`."""

    def authenticate() -> None:
        record = current_record()
        record.caller = callers.find(bearer_token(request.headers.get("Authorization", "")))
        if record.caller.key_id is not None:
            record.receipt.charged = 0  # until something is

    return authenticate
