"""Bearer authentication: resolves the API key, or raises 401."""

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
    """Create a `before_request` hook that sets the context's caller, or raises `InvalidApiKey`."""

    def authenticate() -> None:
        context = current_context()
        context.caller = authenticator.authenticate(bearer_token(request.headers.get("Authorization", "")))
        if context.caller.key_id is not None:
            context.receipt.charged = 0  # billing sets it to the price of the call

    return authenticate
