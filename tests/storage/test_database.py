"""Broken connections: which error they raise, and that one which broke while idle fails no call."""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from typing import Any

import psycopg
import pytest
from prometheus_client import REGISTRY
from sqlalchemy import Executable, Row, text

from app.errors import DatabaseUnavailable
from app.storage import engines, engines_postgresql
from app.storage.api_keys import ApiKeyStore
from app.storage.availability import HUNG_SECONDS
from app.storage.database import CommitOutcomeUnknown, Database
from app.storage.ledger import Ledger
from app.storage.reservations import Reservation
from app.storage.usage import UsageStore
from tests.storage.conftest import MakeKey
from tests.storage.test_journal import usage_row
from tests.support.databases import ScratchDatabase
from tests.support.waiting import wait_until

on_postgresql = pytest.mark.parametrize("test_db", ["postgresql"], indirect=True)
WRITE = text("UPDATE api_keys SET name = name RETURNING id")
ANSWER = text("SELECT 42 AS answer")


def run(database: Database, statement: Executable) -> Row[Any] | None:
    """One statement that is a transaction of its own; the row that it gives."""
    with database.connection(single_statement=True) as connection:
        return connection.execute(statement).one_or_none()


def answer_of(database: Database) -> int:
    row = run(database, ANSWER)
    assert row is not None
    return int(row.answer)


def unavailable_workers() -> float | None:
    return REGISTRY.get_sample_value("amux_database_gone")


def test_outage_and_recovery_are_logged_once_with_the_reason(
    test_db: ScratchDatabase, database: Database, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "DATABASE_TIMEOUT_SECONDS", 1)
    with test_db.outage():
        for _ in range(3):
            with pytest.raises(DatabaseUnavailable):
                run(database, WRITE)
            database._availability._fail_fast_until = 0
            with suppress(DatabaseUnavailable):  # SQLite can still be read
                ApiKeyStore(database).all()
        assert unavailable_workers() == 1
    time.sleep(HUNG_SECONDS)  # while calls fail fast
    for _ in range(3):
        run(database, WRITE)
    assert unavailable_workers() == 0
    unavailable, available = (record.message for record in caplog.records)
    reason = unavailable.removeprefix("Database unavailable: rejecting image requests. ")
    assert "locked" in reason or "connection" in reason
    assert available == "Database available again"


@pytest.mark.parametrize("test_db", ["sqlite"], indirect=True)
def test_calls_fail_fast_after_one_has_timed_out(
    test_db: ScratchDatabase, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "DATABASE_TIMEOUT_SECONDS", 1)
    monkeypatch.setattr("app.storage.availability.HUNG_SECONDS", 0.5)
    began, availability = time.monotonic(), database._availability
    with test_db.outage(), pytest.raises(DatabaseUnavailable):
        run(database, WRITE)
    assert availability._fail_fast_until > began + 1
    availability._fail_fast_until += 60  # so that it does not pass meanwhile
    with pytest.raises(DatabaseUnavailable) as caught:
        run(database, WRITE)  # it is available, but calls still fail fast
    assert caught.value.__cause__ is None
    availability._fail_fast_until -= 60
    time.sleep(0.5)
    run(database, WRITE)


def test_pool_timeout_means_nothing_was_sent(test_db: ScratchDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "POOL_TIMEOUT_SECONDS", 0.05)
    database = Database(test_db.url)
    with ExitStack() as stack:
        for _ in range(engines.POOL_SIZE):
            stack.enter_context(database.engine.connect())
        with pytest.raises(DatabaseUnavailable) as caught:
            run(database, WRITE)
    assert not isinstance(caught.value, CommitOutcomeUnknown)
    run(database, WRITE)
    database.engine.dispose()


@on_postgresql
def test_connection_broken_at_the_commit_leaves_the_outcome_unknown(
    test_db: ScratchDatabase, database: Database
) -> None:
    def write_and_break() -> None:
        with database.connection() as connection:
            connection.execute(WRITE)
            broken: Any = connection.connection.dbapi_connection
            broken.pgconn.finish()

    with pytest.raises(CommitOutcomeUnknown):
        write_and_break()


def test_statement_that_finds_nothing_has_no_row(database: Database) -> None:
    assert run(database, text("UPDATE api_keys SET name = 'new' RETURNING id")) is None


def test_run_commits_its_statement(database: Database, make_key: MakeKey) -> None:
    make_key(name="old")
    assert run(database, text("UPDATE api_keys SET name = 'new' RETURNING id")) is not None
    assert ApiKeyStore(database).get("new")


@on_postgresql
def test_restart_while_connections_are_idle_fails_no_call(test_db: ScratchDatabase, database: Database) -> None:
    with database.connection(), database.connection():  # two in the pool
        pass
    with test_db.outage():
        pass
    assert [answer_of(database) for _ in range(3)] == [42] * 3


@on_postgresql
def test_refused_connection_means_nothing_was_sent(test_db: ScratchDatabase, database: Database) -> None:
    assert answer_of(database) == 42
    with test_db.outage(), pytest.raises(DatabaseUnavailable) as caught:
        answer_of(database)
    assert not isinstance(caught.value, CommitOutcomeUnknown)


@on_postgresql
def test_connection_broken_under_a_single_statement_leaves_the_outcome_unknown(
    test_db: ScratchDatabase, database: Database
) -> None:
    with pytest.raises(CommitOutcomeUnknown):
        run(database, text("SELECT pg_terminate_backend(pg_backend_pid())"))
    assert answer_of(database) == 42


@on_postgresql
def test_transaction_broken_before_its_commit_is_rolled_back(test_db: ScratchDatabase, database: Database) -> None:
    with pytest.raises(DatabaseUnavailable) as caught, database.connection() as connection:
        connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    assert not isinstance(caught.value, CommitOutcomeUnknown)


@on_postgresql
def test_asynchronous_commit_of_a_usage_row_does_not_outlast_it(
    test_db: ScratchDatabase, database: Database, make_key: MakeKey
) -> None:
    UsageStore(database).add(usage_row(make_key()))
    row = run(database, text("SELECT current_setting('synchronous_commit') AS found"))
    assert row is not None
    assert row.found == "on"


@on_postgresql
def test_lock_timeout_is_known_to_be_rolled_back(
    test_db: ScratchDatabase,
    keys: ApiKeyStore,
    make_key: MakeKey,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The server gives up first, so that nothing is done later. The database does not count as unavailable."""
    key_id = make_key(100)
    monkeypatch.setattr(engines_postgresql, "STATEMENT_TIMEOUT_MILLISECONDS", 300)
    database = Database(test_db.url)
    with psycopg.connect(test_db.url) as other:
        other.execute("UPDATE api_keys SET name = name")
        with pytest.raises(DatabaseUnavailable) as caught:
            Ledger(database).reserve(Reservation("1", key_id, "r", "o", images=1, price=100))
    assert not isinstance(caught.value, CommitOutcomeUnknown)
    assert "unavailable" not in caplog.text
    assert Ledger(database).open_owners() == []
    assert keys.by_id(key_id).balance == 100
    database.engine.dispose()


@on_postgresql
def test_broken_connection_is_replaced_every_time(test_db: ScratchDatabase, database: Database) -> None:
    for _ in range(3):
        assert answer_of(database) == 42
        end_all_connections(test_db.url)


def end_all_connections(url: str) -> None:
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"SELECT pg_terminate_backend(pid) {others}")
        wait_until(
            lambda: connection.execute(f"SELECT count(*) {others}").fetchone() == (0,), "all connections are closed"
        )


@on_postgresql
def test_isolation_level_does_not_depend_on_the_server_s_default(test_db: ScratchDatabase) -> None:
    """Under a higher isolation level, a statement that waited for a row lock would fail."""
    with psycopg.connect(test_db.url, autocommit=True) as owner:
        [name] = owner.execute("SELECT current_database()").fetchone() or [""]
        owner.execute(f"ALTER DATABASE \"{name}\" SET default_transaction_isolation TO 'repeatable read'")
    database = Database(test_db.url)
    row = run(database, text("SELECT current_setting('transaction_isolation') AS found"))
    assert row is not None
    assert row.found == "read committed"
    database.engine.dispose()


@on_postgresql
def test_statement_timeout_is_for_calls_and_not_for_commands(
    test_db: ScratchDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "DATABASE_TIMEOUT_SECONDS", 1)
    with_timeout, without_timeout = Database(test_db.url), Database(test_db.url, statement_timeout=False)
    slow = text("SELECT pg_sleep(1.5)")
    with pytest.raises(CommitOutcomeUnknown):
        run(with_timeout, slow)
    assert run(without_timeout, slow) is not None
    for database in (with_timeout, without_timeout):
        database.engine.dispose()
