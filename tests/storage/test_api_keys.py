"""Keys: told once, stored as a digest, found through a short cache, and stopped within five seconds."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import event, text
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

IN_TIME = 5  # seconds, within which a key that was stopped no longer works


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
def callers(keys: ApiKeyStore, clock: Clock) -> CachedAuthenticator:
    return CachedAuthenticator(keys, clock=clock, today=clock.moment)


@pytest.fixture
def statements(database: Database) -> Iterator[list[str]]:
    """What the database is asked from now on."""
    asked: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        asked.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    yield asked
    event.remove(database.engine, "before_cursor_execute", note)


def refusal(callers: CachedAuthenticator, api_key: str) -> str:
    with pytest.raises(InvalidApiKey) as caught:
        callers.authenticate(api_key)
    return caught.value.message


def test_a_secret_has_256_bits_behind_a_prefix_and_is_another_one_each_time(keys: ApiKeyStore) -> None:
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


def test_a_key_is_found_by_its_name_its_prefix_or_itself(keys: ApiKeyStore) -> None:
    secret = keys.create("key")
    key_id = keys.get("key").id
    assert keys.get(secret[:PREFIX_CHARS]).id == keys.get(secret).id == keys.by_id(key_id).id == key_id
    assert [key.name for key in keys.all()] == ["key"]
    for look_up in (keys.get, keys.revoke, keys.update):
        with pytest.raises(ApiKeyNotFound):
            look_up("another")
    with pytest.raises(ApiKeyNotFound):
        keys.by_id(4711)


def test_an_unknown_key_is_not_repeated(keys: ApiKeyStore) -> None:
    with pytest.raises(ApiKeyNotFound) as caught:
        keys.get(SECRET_PREFIX + "x" * 43)
    assert caught.value.args == (SECRET_PREFIX + "x" * 6,)


def test_a_name_is_taken_once(keys: ApiKeyStore) -> None:
    keys.create("key", balance=1)
    with pytest.raises(IntegrityError):
        keys.create("key", balance=1)
    assert len(keys.all()) == 1


def test_a_balance_changes_by_credits_alone(keys: ApiKeyStore) -> None:
    keys.create("key", balance=1)
    with pytest.raises(ValueError, match="credit"):
        keys.update("key", balance=None)


def test_a_caller_is_what_its_key_says(keys: ApiKeyStore, callers: CachedAuthenticator) -> None:
    secret = keys.create(
        "key",
        models="MiniMax-Image-01",
        requests_per_minute=1,
        images_per_minute=2,
        max_calls=3,
        response_format="b64_json",
    )
    caller = callers.authenticate(secret)
    assert caller.key_id == keys.get("key").id
    assert caller.fingerprint == fingerprint(secret)
    assert caller.models == frozenset({"MiniMax-Image-01"})
    assert (caller.limits, caller.response_format) == (KeyLimits(1, 2, 3), "b64_json")
    unlimited = callers.authenticate(keys.create("unlimited"))
    assert (unlimited.models, unlimited.limits, unlimited.response_format) == (None, KeyLimits(), None)


def test_one_question_serves_many_requests(
    keys: ApiKeyStore, callers: CachedAuthenticator, clock: Clock, statements: list[str]
) -> None:
    secret = keys.create("key")
    statements.clear()
    for _ in range(100):
        callers.authenticate(secret)
        clock.seconds += 0.03
    assert len([one for one in statements if "api_keys" in one]) == 1


@pytest.mark.parametrize("api_key", ["", "unknown", "sk-proj-of-another-house", "\udcff"])
def test_what_is_no_key_of_ours_is_refused_without_a_question(
    callers: CachedAuthenticator, api_key: str, statements: list[str]
) -> None:
    refusal(callers, api_key)
    assert statements == []


def test_a_revoked_key_stops_in_time_everywhere(keys: ApiKeyStore, clock: Clock) -> None:
    secret = keys.create("key")
    workers = [CachedAuthenticator(keys, clock=clock, today=clock.moment) for _ in range(2)]
    for callers in workers:
        callers.authenticate(secret)
    keys.revoke("key")
    clock.seconds += IN_TIME
    for callers in workers:
        refusal(callers, secret)


def test_a_slow_answer_is_no_newer_than_its_question(
    keys: ApiKeyStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = keys.create("key")
    callers, find = CachedAuthenticator(keys, clock=clock, today=clock.moment), keys.find_by_digest

    def slow(api_key_digest: str) -> object:
        found = find(api_key_digest)
        clock.seconds += 4.5
        return found

    monkeypatch.setattr(keys, "find_by_digest", slow)
    callers.authenticate(secret)
    monkeypatch.undo()
    keys.revoke("key")
    clock.seconds += 0.5
    refusal(callers, secret)


def test_an_expired_key_stops_at_once(keys: ApiKeyStore, callers: CachedAuthenticator, clock: Clock) -> None:
    secret = keys.create("key", expires_at=clock.moment() + timedelta(seconds=2))
    callers.authenticate(secret)
    clock.seconds += 1.9
    callers.authenticate(secret)
    clock.seconds += 0.1
    refusal(callers, secret)


def test_a_moment_means_the_same_in_any_zone(keys: ApiKeyStore, callers: CachedAuthenticator, clock: Clock) -> None:
    elsewhere = datetime.fromisoformat("2026-01-01T09:00:00+09:00") + timedelta(seconds=clock.seconds + 2)
    secret = keys.create("key", expires_at=elsewhere)
    callers.authenticate(secret)
    assert keys.get("key").expires_at == clock.moment() + timedelta(seconds=2)
    clock.seconds += 2
    refusal(callers, secret)


def test_changes_arrive_in_time(keys: ApiKeyStore, callers: CachedAuthenticator, clock: Clock) -> None:
    secret = keys.create("key", requests_per_minute=1)
    assert callers.authenticate(secret).limits.requests_per_minute == 1
    keys.update("key", requests_per_minute=None)
    clock.seconds += IN_TIME
    assert callers.authenticate(secret).limits.requests_per_minute is None


def test_whatever_is_wrong_with_a_key_is_told_in_the_same_words(
    keys: ApiKeyStore, callers: CachedAuthenticator, clock: Clock
) -> None:
    expired = keys.create("expired", expires_at=clock.moment())
    revoked = keys.create("revoked")
    keys.revoke("revoked")
    live = keys.create("live")
    presented = (expired, revoked, f"{live}x", live[:-1], f"{SECRET_PREFIX}nobody's", "", "other")
    assert len({refusal(callers, api_key) for api_key in presented}) == 1
    callers.authenticate(live)


def test_who_tries_out_keys_fills_no_memory(keys: ApiKeyStore, callers: CachedAuthenticator) -> None:
    callers._cache.update(dict.fromkeys(map(str, range(MAX_CACHED)), None))  # type: ignore[arg-type]
    refusal(callers, f"{SECRET_PREFIX}nobody's")
    assert len(callers._cache) == 1


def test_a_database_that_is_gone_is_not_a_wrong_key(keys: ApiKeyStore, database: Database, clock: Clock) -> None:
    broken = CachedAuthenticator(ApiKeyStore(Database("sqlite:////nowhere/at/all.db")), clock=clock)
    with pytest.raises(DatabaseUnavailable):
        broken.authenticate(keys.create("key"))
