"""Authenticator for stored API keys, with a short cache in front of the database."""

from __future__ import annotations

import hmac
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from app.accounts.api_key import Caller, digest, fingerprint
from app.errors import InvalidApiKey
from app.storage.api_keys import SECRET_PREFIX, ApiKeyStore
from app.storage.tables import ApiKey
from app.storage.times import now

CACHE_SECONDS = 4.0  # a revoked key stops working within 5 seconds
MAX_CACHED = 10_000


@dataclass(frozen=True)
class _Cached:
    """A looked-up key. `caller` is None if the key is unknown or revoked; `until` is on the cache's clock."""

    caller: Caller | None
    expires_at: datetime | None
    until: float


class CachedAuthenticator:
    """Implements `app.accounts.api_key.Authenticator`.

    A looked-up key, unknown ones included, is cached for `CACHE_SECONDS`, so that few requests query the database.
    A change of a key takes effect after that time in every process.
    """

    def __init__(
        self, keys: ApiKeyStore, *, clock: Callable[[], float] = time.monotonic, today: Callable[[], datetime] = now
    ) -> None:
        self._keys = keys
        self._clock = clock
        self._today = today
        self._cache: dict[str, _Cached] = {}
        self._lock = threading.Lock()

    def authenticate(self, api_key: str) -> Caller:
        """Raises `InvalidApiKey` for an unknown, expired or revoked key, or `DatabaseUnavailable`."""
        if not api_key.startswith(SECRET_PREFIX):  # no key of ours
            raise InvalidApiKey
        presented = digest(api_key)
        cached = self._cache.get(presented)
        if cached is None or cached.until < self._clock():
            cached = self._look_up(presented, fingerprint(api_key))
        if cached.caller is None or (cached.expires_at is not None and cached.expires_at <= self._today()):
            raise InvalidApiKey
        return cached.caller

    def _look_up(self, presented: str, fingerprint: str) -> _Cached:
        queried_at = self._clock()  # the result is no newer than the query, however long that takes
        key = self._keys.find_by_digest(presented)
        usable = key is not None and hmac.compare_digest(key.digest, presented) and key.revoked_at is None
        found = _Cached(
            caller=_caller(key, fingerprint) if key is not None and usable else None,
            expires_at=key.expires_at if key is not None else None,
            until=queried_at + CACHE_SECONDS,
        )
        with self._lock:
            if len(self._cache) >= MAX_CACHED:  # many unknown keys are being tried
                self._cache.clear()
            self._cache[presented] = found
        return found


def _caller(key: ApiKey, fingerprint: str) -> Caller:
    return Caller(
        fingerprint=fingerprint,
        key_id=key.id,
        models=frozenset(key.models.split(",")) if key.models else None,
        limits=key.limits,
        response_format=key.response_format,
    )
