"""Owns `Caller`: what is known of who calls, once the key is known."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from app.errors import InvalidApiKey, ModelNotAuthorized
from app.model_catalog import Model, ResponseFormat


@dataclass(frozen=True)
class Caller:
    """`fingerprint` names the key in logs and limits. `key_id` is None for a key that is not stored.

    `models` are the ids that this key may use, None for all; the limits are None where there is none.
    """

    fingerprint: str
    key_id: int | None = None
    models: frozenset[str] | None = None
    requests_per_minute: int | None = None
    images_per_minute: int | None = None
    max_calls: int | None = None
    response_format: ResponseFormat | None = None

    def may_use(self, model: Model) -> bool:
        return self.models is None or model.id in self.models

    def check_model(self, model: Model) -> None:
        """Raises `ModelNotAuthorized`."""
        if not self.may_use(model):
            raise ModelNotAuthorized(f"This API key may not use {model.id}.", param="model")


class Authenticator(Protocol):
    def authenticate(self, api_key: str) -> Caller:
        """Raises `InvalidApiKey`, in the same words whatever is wrong with the key."""
        ...


class StaticApiKeys:
    """The keys of `AMUX_API_KEYS`: no limits, nothing stored."""

    def __init__(self, api_keys: Iterable[str]) -> None:
        self._known = [digest(key) for key in api_keys]

    def authenticate(self, api_key: str) -> Caller:
        presented = digest(api_key)
        # Every key is compared, so that the time tells nothing about which one came close.
        if not sum(hmac.compare_digest(presented, known) for known in self._known):
            raise InvalidApiKey
        return Caller(fingerprint(api_key))


def digest(api_key: str) -> str:
    """SHA-256 in hex: enough for keys of 256 random bits, which nobody can guess from it."""
    return hashlib.sha256(api_key.encode("utf-8", "surrogateescape")).hexdigest()


def fingerprint(api_key: str) -> str:
    """What logs call a key: the first 12 hex digits of its SHA-256."""
    return digest(api_key)[:12]
