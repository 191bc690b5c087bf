"""API keys: stored as a digest, cached for a short time, and revoked within five seconds."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import IntegrityError

from app.accounts.api_key import digest, fingerprint
from app.accounts.key_limits import KeyLimits
from app.errors import DatabaseUnavailable, InvalidApiKey
from app.storage.api_key_cache import MAX_CACHED, CachedAuthenticator
from app.storage.api_keys import (
    PREFIX_CHARS,
    SECRET_PREFIX,
    ApiKeyNotFound,
    ApiKeyStore,
)
from app.storage.database import Database
from tests.support.databases import ScratchDatabase, ScratchSqlite

IN_TIME = 5  # seconds within which a revoked key stops working


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds

    def moment(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def authenticator(keys: ApiKeyStore, clock: Clock) -> CachedAuthenticator:
    return CachedAuthenticator(keys, clock=clock, today=clock.moment)


@pytest.fixture
def statements() -> Iterator[list[str]]:
    """The SQL statements that are executed from now on."""
    executed: list[str] = []

    def record(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        executed.append(statement)

    event.listen(Engine, "before_cursor_execute", record)
    yield executed
    event.remove(Engine, "before_cursor_execute", record)


def rejection(authenticator: CachedAuthenticator, api_key: str) -> str:
    with pytest.raises(InvalidApiKey) as caught:
        authenticator.authenticate(api_key)
    return caught.value.message


def test_secret_is_a_prefix_and_256_random_bits(keys: ApiKeyStore) -> None:
    secrets = {keys.create(f"key {number}") for number in range(20)}
    assert len(secrets) == 20
    for secret in secrets:
        assert secret.startswith(SECRET_PREFIX)
        assert len(secret) == len(SECRET_PREFIX) + 43  # 32 bytes in base64 without padding


def test_only_the_digest_and_a_prefix_are_stored(
    keys: ApiKeyStore, database: Database, test_db: ScratchDatabase
) -> None:
    secret = keys.create("key", balance=10)
    key = keys.get("key")
    assert (key.digest, key.prefix) == (digest(secret), secret[:PREFIX_CHARS])
    with database.connection(read_only=True) as connection:
        tables = ("api_keys", "ledger", "reservations", "usage")
        rows = [str(row) for table in tables for row in connection.execute(text(f"SELECT * FROM {table}"))]
    assert not any(secret[PREFIX_CHARS:] in row for row in rows)
    if isinstance(test_db, ScratchSqlite):
        database.engine.dispose()
        for path in Path(test_db.path).parent.glob("amux.db*"):
            assert secret[PREFIX_CHARS:].encode() not in path.read_bytes()


def test_key_is_found_by_name_prefix_or_secret(keys: ApiKeyStore) -> None:
    secret = keys.create("key")
    key_id = keys.get("key").id
    assert keys.get(secret[:PREFIX_CHARS]).id == keys.get(secret).id == keys.by_id(key_id).id == key_id
    assert [key.name for key in keys.all()] == ["key"]
    for look_up in (keys.get, keys.revoke, keys.update):
        with pytest.raises(ApiKeyNotFound):
            look_up("another")
    with pytest.raises(ApiKeyNotFound):
        keys.by_id(4711)


def test_unknown_key_is_not_echoed(keys: ApiKeyStore) -> None:
    with pytest.raises(ApiKeyNotFound) as caught:
        keys.get(SECRET_PREFIX + "x" * 43)
    assert caught.value.args == (SECRET_PREFIX + "x" * 6,)


def test_name_is_unique(keys: ApiKeyStore) -> None:
    keys.create("key", balance=1)
    with pytest.raises(IntegrityError):
        keys.create("key", balance=1)
    assert len(keys.all()) == 1


def test_balance_changes_by_credits_only(keys: ApiKeyStore) -> None:
    keys.create("key", balance=1)
    with pytest.raises(ValueError, match="credit"):
        keys.update("key", balance=None)


def test_caller_has_the_columns_of_its_key(keys: ApiKeyStore, authenticator: CachedAuthenticator) -> None:
    secret = keys.create(
        "key",
        models="MiniMax-Image-01",
        requests_per_minute=1,
        images_per_minute=2,
        max_calls=3,
        response_format="b64_json",
    )
    caller = authenticator.authenticate(secret)
    assert caller.key_id == keys.get("key").id
    assert caller.fingerprint == fingerprint(secret)
    assert caller.models == frozenset({"MiniMax-Image-01"})
    assert (caller.limits, caller.response_format) == (
        KeyLimits(requests_per_minute=1, images_per_minute=2, max_calls=3),
        "b64_json",
    )
    unlimited = authenticator.authenticate(keys.create("unlimited"))
    assert (unlimited.models, unlimited.limits, unlimited.response_format) == (None, KeyLimits(), None)


def test_cached_key_is_not_queried_again(
    keys: ApiKeyStore, authenticator: CachedAuthenticator, clock: Clock, statements: list[str]
) -> None:
    secret = keys.create("key")
    statements.clear()
    for _ in range(100):
        authenticator.authenticate(secret)
        clock.seconds += 0.03
    assert len([one for one in statements if "api_keys" in one]) == 1


@pytest.mark.parametrize("api_key", ["", "unknown", "sk-proj-of-another-provider", "\udcff"])
def test_key_without_our_prefix_is_rejected_without_a_query(
    authenticator: CachedAuthenticator, api_key: str, statements: list[str]
) -> None:
    rejection(authenticator, api_key)
    assert statements == []


def test_revoked_key_stops_working_in_every_worker_in_time(keys: ApiKeyStore, clock: Clock) -> None:
    secret = keys.create("key")
    workers = [CachedAuthenticator(keys, clock=clock, today=clock.moment) for _ in range(2)]
    for authenticator in workers:
        authenticator.authenticate(secret)
    keys.revoke("key")
    clock.seconds += IN_TIME
    for authenticator in workers:
        rejection(authenticator, secret)


def test_cache_lifetime_starts_when_the_query_does(
    keys: ApiKeyStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = keys.create("key")
    authenticator, find = CachedAuthenticator(keys, clock=clock, today=clock.moment), keys.find_by_digest

    def slow(api_key_digest: str) -> object:
        found = find(api_key_digest)
        clock.seconds += 4.5
        return found

    monkeypatch.setattr(keys, "find_by_digest", slow)
    authenticator.authenticate(secret)
    monkeypatch.undo()
    keys.revoke("key")
    clock.seconds += 0.5
    rejection(authenticator, secret)


def test_expired_key_stops_working_at_once(keys: ApiKeyStore, authenticator: CachedAuthenticator, clock: Clock) -> None:
    secret = keys.create("key", expires_at=clock.moment() + timedelta(seconds=2))
    authenticator.authenticate(secret)
    clock.seconds += 1.9
    authenticator.authenticate(secret)
    clock.seconds += 0.1
    rejection(authenticator, secret)


def test_expiry_may_have_any_time_zone(keys: ApiKeyStore, authenticator: CachedAuthenticator, clock: Clock) -> None:
    elsewhere = datetime.fromisoformat("2026-01-01T09:00:00+09:00") + timedelta(seconds=clock.seconds + 2)
    secret = keys.create("key", expires_at=elsewhere)
    authenticator.authenticate(secret)
    assert keys.get("key").expires_at == clock.moment() + timedelta(seconds=2)
    clock.seconds += 2
    rejection(authenticator, secret)


def test_changed_limits_apply_in_time(keys: ApiKeyStore, authenticator: CachedAuthenticator, clock: Clock) -> None:
    secret = keys.create("key", requests_per_minute=1)
    assert authenticator.authenticate(secret).limits.requests_per_minute == 1
    keys.update("key", requests_per_minute=None)
    clock.seconds += IN_TIME
    assert authenticator.authenticate(secret).limits.requests_per_minute is None


def test_every_invalid_key_gets_the_same_message(
    keys: ApiKeyStore, authenticator: CachedAuthenticator, clock: Clock
) -> None:
    expired = keys.create("expired", expires_at=clock.moment())
    revoked = keys.create("revoked")
    keys.revoke("revoked")
    live = keys.create("live")
    presented = (expired, revoked, f"{live}x", live[:-1], f"{SECRET_PREFIX}nobody's", "", "other")
    assert len({rejection(authenticator, api_key) for api_key in presented}) == 1
    authenticator.authenticate(live)


def test_size_of_the_cache_is_bounded(keys: ApiKeyStore, authenticator: CachedAuthenticator) -> None:
    authenticator._cache.update(dict.fromkeys(map(str, range(MAX_CACHED)), None))  # type: ignore[arg-type]
    rejection(authenticator, f"{SECRET_PREFIX}nobody's")
    assert len(authenticator._cache) == 1


def test_unavailable_database_is_not_an_invalid_key(keys: ApiKeyStore, database: Database, clock: Clock) -> None:
    broken = CachedAuthenticator(ApiKeyStore(Database("sqlite:////nowhere/at/all.db")), clock=clock)
    with pytest.raises(DatabaseUnavailable):
        broken.authenticate(keys.create("key"))
