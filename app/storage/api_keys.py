"""Owns API keys: made, found, changed, revoked. Stored is only a key's digest, and a prefix to tell it by."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from sqlalchemy import or_, select, update

from app.accounts.api_key import digest
from app.storage.database import Database
from app.storage.ledger_common import credit
from app.storage.tables import ApiKey, now

SECRET_PREFIX = "amux_sk_"  # noqa: S105 (what secret scanners can look for)
PREFIX_CHARS = len(SECRET_PREFIX) + 6


def fingerprint_of(key: ApiKey) -> str:
    """What the log calls its caller."""
    return key.digest[:12]


class ApiKeyNotFound(LookupError):
    """There is no key of that name."""


class ApiKeyStore:
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
        with self._database.transaction(read_only=True) as session:
            return session.scalars(select(ApiKey).order_by(ApiKey.id)).all()

    def get(self, name: str) -> ApiKey:
        """By name, prefix, or the whole key. Raises `ApiKeyNotFound`, which tells no more than a prefix."""
        chosen = or_(ApiKey.name == name, ApiKey.prefix == name, ApiKey.digest == digest(name))
        with self._database.transaction(read_only=True) as session:
            key = session.scalars(select(ApiKey).where(chosen)).first()
        if key is None:
            raise ApiKeyNotFound(name[:PREFIX_CHARS] if name.startswith(SECRET_PREFIX) else name)
        return key

    def by_id(self, key_id: int) -> ApiKey:
        """Raises `ApiKeyNotFound`."""
        with self._database.transaction(read_only=True) as session:
            key = session.get(ApiKey, key_id)
        if key is None:
            raise ApiKeyNotFound(str(key_id))
        return key

    def update(self, name: str, **changes: Any) -> None:
        """`changes` are columns of `ApiKey`, but for the balance: that is the ledger's. Raises `ApiKeyNotFound`."""
        if "balance" in changes:
            raise ValueError("a balance changes by credits")
        key = self.get(name)
        with self._database.transaction() as session:
            session.execute(update(ApiKey).where(ApiKey.id == key.id).values(**changes))

    def revoke(self, name: str) -> None:
        """Raises `ApiKeyNotFound`. A key that is revoked stays so."""
        self.update(name, revoked_at=now())

    def find_by_digest(self, api_key_digest: str) -> ApiKey | None:
        with self._database.transaction(read_only=True) as session:
            return session.scalars(select(ApiKey).where(ApiKey.digest == api_key_digest)).first()
