"""Owns who is calling: from the bearer header to a known key, or 401."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable

from flask import request

from app.errors import InvalidApiKey
from app.request_log import current_record


def fingerprint(api_key: str) -> str:
    """What logs call a key: the first 12 hex digits of its SHA-256."""
    return _digest(api_key).hex()[:12]


def bearer_token(header: str) -> str:
    """The token of an Authorization header, or an empty string."""
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def create_authenticator(api_keys: Iterable[str]) -> Callable[[], None]:
    """A `before_request` that lets only callers with one of `api_keys` pass. It raises `InvalidApiKey`."""
    known = [_digest(key) for key in api_keys]

    def authenticate() -> None:
        token = bearer_token(request.headers.get("Authorization", ""))
        presented = _digest(token)
        # Every key is compared, so that the time tells nothing about which one came close.
        if not sum(hmac.compare_digest(presented, digest) for digest in known):
            raise InvalidApiKey
        current_record().caller = fingerprint(token)

    return authenticate


def _digest(api_key: str) -> bytes:
    return hashlib.sha256(api_key.encode("utf-8", "surrogateescape")).digest()
