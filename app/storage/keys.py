"""Owns API keys: made, found, changed, revoked. Stored is only a key's digest, and a prefix to tell it by."""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import or_, select, update

from app.accounts.caller import Caller, digest, fingerprint
from app.errors import InvalidApiKey
from app.storage.database import Database
from app.storage.moves_in_steps import credit
from app.storage.tables import ApiKey, now

SECRET_PREFIX = "amux_sk_"  # noqa: S105 (what secret scanners can look for)
PREFIX_CHARS = len(SECRET_PREFIX) + 6
CACHE_SECONDS = 4.0  # a revoked key stops working within 5
MAX_CACHED = 10_000


def fingerprint_of(key: ApiKey) -> str:
    """What the log calls its caller."""
    return key.digest[:12]


class UnknownKey(LookupError):
    """There is no key of that name."""


class KeyStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, name: str, *, balance: int | None = None, **limits: Any) -> str:
        """The new key's secret, told here and never again. Raises sqlalchemy's IntegrityError for a name in use.

        `limits` are columns of `ApiKey`; `balance` in micro-units, None for no limit.
        """
        secret = SECRET_PREFIX + secrets.token_urlsafe(32)
        with self._database.transaction() as session:
            key = ApiKey(name=name, prefix=secret[:PREFIX_CHARS], digest=digest(secret), **limits)
            session.add(key)
            session.flush()
            if balance is not None:
                credit(session, key.id, balance, note="created")
        return secret

    def all(self) -> Sequence[ApiKey]:
        with self._database.transaction(reads=True) as session:
            return session.scalars(select(ApiKey).order_by(ApiKey.id)).all()

    def get(self, name: str) -> ApiKey:
        """By name, prefix, or the whole key. Raises `UnknownKey`, which tells no more than a prefix."""
        chosen = or_(ApiKey.name == name, ApiKey.prefix == name, ApiKey.digest == digest(name))
        with self._database.transaction(reads=True) as session:
            key = session.scalars(select(ApiKey).where(chosen)).first()
        if key is None:
            raise UnknownKey(name[:PREFIX_CHARS] if name.startswith(SECRET_PREFIX) else name)
        return key

    def by_id(self, key_id: int) -> ApiKey:
        """Raises `UnknownKey`."""
        with self._database.transaction(reads=True) as session:
            key = session.get(ApiKey, key_id)
        if key is None:
            raise UnknownKey(str(key_id))
        return key

    def update(self, name: str, **changes: Any) -> None:
        """`changes` are columns of `ApiKey`, but for the balance: that is the ledger's. Raises `UnknownKey`."""
        if "balance" in changes:
            raise ValueError("a balance changes by credits")
        key = self.get(name)
        with self._database.transaction() as session:
            session.execute(update(ApiKey).where(ApiKey.id == key.id).values(**changes))

    def revoke(self, name: str) -> None:
        """Raises `UnknownKey`. A key that is revoked stays so."""
        self.update(name, revoked_at=now())

    def find(self, api_key_digest: str) -> ApiKey | None:
        with self._database.transaction(reads=True) as session:
            return session.scalars(select(ApiKey).where(ApiKey.digest == api_key_digest)).first()


@dataclass(frozen=True)
class _Cached:
    caller: Caller | None
    expires_at: datetime | None
    until: float


class StoredCallers:
    """Callers by their stored keys, each remembered for `CACHE_SECONDS`: not every request asks the database."""

    def __init__(
        self, keys: KeyStore, *, clock: Callable[[], float] = time.monotonic, today: Callable[[], datetime] = now
    ) -> None:
        self._keys = keys
        self._clock = clock
        self._today = today
        self._cache: dict[str, _Cached] = {}
        self._lock = threading.Lock()

    def find(self, api_key: str) -> Caller:
        """Raises `InvalidApiKey` for an unknown, expired or revoked key, or `StorageUnavailable`."""
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
        key = self._keys.find(presented)
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
        name=name,
        key_id=key.id,
        models=frozenset(key.models.split(",")) if key.models else None,
        requests_per_minute=key.requests_per_minute,
        images_per_minute=key.images_per_minute,
        max_calls=key.max_calls,
    )
