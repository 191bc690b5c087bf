"""API key repository. Only the digest and a prefix of a key are stored."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, or_, select, update

from app.accounts.api_key import digest
from app.storage.database import Database
from app.storage.ledger_common import credit
from app.storage.tables import ApiKey
from app.storage.times import now

SECRET_PREFIX = "amux_sk_"  # noqa: S105 (no secret, but a prefix that secret scanners can find)
PREFIX_CHARS = len(SECRET_PREFIX) + 6


def fingerprint_of(key: ApiKey) -> str:
    """`Caller.fingerprint` of the key, which names it in the log."""
    return key.digest[:12]


class ApiKeyNotFound(LookupError):
    """No key has the name, prefix or id, which is the argument."""


class ApiKeyStore:
    """Keys are given and returned as `ApiKey`; the methods raise `DatabaseUnavailable` as `Database` does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, name: str, *, balance: int | None = None, **columns: Any) -> str:
        """Create a key; returns its secret, which cannot be read again.

        `balance` is in micro-units, None for no limit. `columns` are other columns of `ApiKey`. Raises sqlalchemy's
        `IntegrityError` if the name is in use.
        """
        secret = SECRET_PREFIX + secrets.token_urlsafe(32)
        with self._database.transaction() as session:
            key = ApiKey(name=name, prefix=secret[:PREFIX_CHARS], digest=digest(secret), **columns)
            session.add(key)
            session.flush()
            if balance is not None:
                credit(session, key.id, balance, note="created")
        return secret

    def all(self) -> Sequence[ApiKey]:
        with self._database.transaction(read_only=True) as session:
            return session.scalars(select(ApiKey).order_by(ApiKey.id)).all()

    def get(self, name: str) -> ApiKey:
        """Find a key by its name, its prefix or itself. Raises `ApiKeyNotFound`, which holds at most the prefix."""
        matches = or_(ApiKey.name == name, ApiKey.prefix == name, ApiKey.digest == digest(name))
        with self._database.transaction(read_only=True) as session:
            key = session.scalars(select(ApiKey).where(matches)).first()
        if key is None:
            raise ApiKeyNotFound(name[:PREFIX_CHARS] if name.startswith(SECRET_PREFIX) else name)
        return key

    def by_id(self, key_id: int) -> ApiKey:
        """Raises `ApiKeyNotFound`."""
        key = self._find(select(ApiKey).where(ApiKey.id == key_id))
        if key is None:
            raise ApiKeyNotFound(str(key_id))
        return key

    def update(self, name: str, **changes: Any) -> None:
        """Set columns of `ApiKey`, except `balance`, which only the ledger changes. Raises `ApiKeyNotFound`."""
        if "balance" in changes:
            raise ValueError("the balance changes by credits only")
        key = self.get(name)
        with self._database.transaction() as session:
            session.execute(update(ApiKey).where(ApiKey.id == key.id).values(**changes))

    def revoke(self, name: str) -> None:
        """Revoke a key for good. Raises `ApiKeyNotFound`."""
        self.update(name, revoked_at=now())

    def find_by_digest(self, api_key_digest: str) -> ApiKey | None:
        return self._find(select(ApiKey).where(ApiKey.digest == api_key_digest))

    def _find(self, query: Select[ApiKey]) -> ApiKey | None:
        def find() -> ApiKey | None:
            with self._database.transaction(read_only=True) as session:
                return session.scalars(query).first()

        return self._database.reader_threads.call(find)
