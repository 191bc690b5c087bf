"""The authenticated API key of a request, and authentication by a static list of keys."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from app.accounts.key_limits import UNLIMITED, KeyLimits
from app.errors import InvalidApiKey, ModelNotAuthorized
from app.model_catalog import Model, ResponseFormat


@dataclass(frozen=True)
class Caller:
    """The caller, as identified by its API key.

    `fingerprint` names the key in logs and in the rate limit store. `key_id` is the row of `api_keys`, None for a
    static key. `models` are the ids of the models that the key may use, None for all. `response_format` is the key's
    default for requests that send none, None where the key has no default.
    """

    fingerprint: str
    key_id: int | None = None
    models: frozenset[str] | None = None
    limits: KeyLimits = UNLIMITED
    response_format: ResponseFormat | None = None

    def may_use(self, model: Model) -> bool:
        return self.models is None or model.id in self.models

    def check_model(self, model: Model) -> None:
        """Raise `ModelNotAuthorized` if the key may not use `model`."""
        if not self.may_use(model):
            raise ModelNotAuthorized(f"This API key may not use {model.id}.", param="model")


class Authenticator(Protocol):
    """Maps the API key of a request to its `Caller`."""

    def authenticate(self, api_key: str) -> Caller:
        """Return the caller of `api_key`, the text after `Bearer`.

        Raises `InvalidApiKey` for an unknown, expired or revoked key, with one message for all of them, and
        `DatabaseUnavailable` if the keys are in a database that does not respond.
        """
        ...


class StaticApiKeys:
    """Authenticator for the keys of `AMUX_API_KEYS`. They have no limits, and nothing is stored about them."""

    def __init__(self, api_keys: Iterable[str]) -> None:
        self._known = [digest(key) for key in api_keys]

    def authenticate(self, api_key: str) -> Caller:
        presented = digest(api_key)
        # Compare with every key, so that the response time does not depend on which one matches.
        if not sum(hmac.compare_digest(presented, known) for known in self._known):
            raise InvalidApiKey
        return Caller(fingerprint(api_key))


def digest(api_key: str) -> str:
    """SHA-256 in hex. A fast hash is enough for keys of 256 random bits, which cannot be guessed."""
    return hashlib.sha256(api_key.encode("utf-8", "surrogateescape")).hexdigest()


def fingerprint(api_key: str) -> str:
    """The first 12 hex digits of the key's SHA-256, which name the key in logs."""
    return digest(api_key)[:12]
