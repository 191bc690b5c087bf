"""Authenticates callers by their stored API keys, with a short cache in front of the database."""

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
from app.storage.tables import ApiKey, now

CACHE_SECONDS = 4.0  # a revoked key stops working within 5 seconds
MAX_CACHED = 10_000


@dataclass(frozen=True)
class _Cached:
    caller: Caller | None
    expires_at: datetime | None
    until: float


class CachedAuthenticator:
    """Authenticator by their stored keys, each remembered for `CACHE_SECONDS`: not every request asks the database."""

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
        if not api_key.startswith(SECRET_PREFIX):  # no need to ask
            raise InvalidApiKey
        presented = digest(api_key)
        cached = self._cache.get(presented)
        if cached is None or cached.until < self._clock():
            cached = self._look_up(presented, fingerprint(api_key))
        if cached.caller is None or (cached.expires_at is not None and cached.expires_at <= self._today()):
            raise InvalidApiKey
        return cached.caller

    def _look_up(self, presented: str, name: str) -> _Cached:
        asked = self._clock()  # the answer may be a while on its way, and no newer for that
        key = self._keys.find_by_digest(presented)
        usable = key is not None and hmac.compare_digest(key.digest, presented) and key.revoked_at is None
        found = _Cached(
            caller=_caller(key, name) if key is not None and usable else None,
            expires_at=key.expires_at if key is not None else None,
            until=asked + CACHE_SECONDS,
        )
        with self._lock:
            if len(self._cache) >= MAX_CACHED:  # somebody tries out keys
                self._cache.clear()
            self._cache[presented] = found
        return found


def _caller(key: ApiKey, name: str) -> Caller:
    return Caller(
        fingerprint=name,
        key_id=key.id,
        models=frozenset(key.models.split(",")) if key.models else None,
        limits=key.limits,
        response_format=key.response_format,
    )
