"""Owns the bearer header: who is calling, or 401."""

from __future__ import annotations

from collections.abc import Callable

from flask import request

from app.accounts.api_key import Authenticator
from app.web.request_context import current_context


def bearer_token(header: str) -> str:
    """The token of an Authorization header, or an empty string."""
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def create_authenticator(authenticator: Authenticator) -> Callable[[], None]:
    """A `before_request` that lets only known callers pass. It raises `InvalidApiKey`."""

    def authenticate() -> None:
        context = current_context()
        context.caller = authenticator.authenticate(bearer_token(request.headers.get("Authorization", "")))
        if context.caller.key_id is not None:
            context.receipt.charged = 0  # until something is

    return authenticate
