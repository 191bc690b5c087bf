"""What a connection that breaks means; and that one which broke while it was idle costs no call anything."""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from typing import Any

import psycopg
import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text

from app.errors import DatabaseUnavailable
from app.storage import engines
from app.storage.api_keys import ApiKeyStore
from app.storage.database import HUNG_SECONDS, CommitOutcomeUnknown, Database
from app.storage.ledger import Ledger
from app.storage.reservations import Reservation
from app.storage.usage import UsageStore
from tests.integration.raw_http import wait_until
from tests.storage.conftest import MakeKey
from tests.storage.test_journal import usage_row
from tests.support.databases import ScratchDatabase

on_postgresql = pytest.mark.parametrize("test_db", ["postgresql"], indirect=True)
WRITE = text("UPDATE api_keys SET name = name RETURNING id")
ANSWER = text("SELECT 42 AS answer")


def answer_of(database: Database) -> int:
    row = database.run(ANSWER, {})
    assert row is not None
    return int(row.answer)


def gone() -> float | None:
    return REGISTRY.get_sample_value("amux_database_gone")


def test_that_it_is_gone_is_said_once_with_the_reason_and_that_it_is_back(
    test_db: ScratchDatabase, database: Database, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "SECONDS", 1)
    with test_db.outage():
        for _ in range(3):
            with pytest.raises(DatabaseUnavailable):
                database.run(WRITE, {})
            database._hung_until = 0
            with suppress(DatabaseUnavailable):  # SQLite's can still be read
                ApiKeyStore(database).all()
        assert gone() == 1
    time.sleep(HUNG_SECONDS)  # for so long nobody asks one that hangs
    for _ in range(3):
        database.run(WRITE, {})
    assert gone() == 0
    lost, back = (record.message for record in caplog.records)
    reason = lost.removeprefix("The database is gone: calls are refused until it is back. ")
    assert "locked" in reason or "connection" in reason
    assert back == "The database is back."


@pytest.mark.parametrize("test_db", ["sqlite"], indirect=True)
def test_who_has_waited_for_nothing_spares_the_next_ones(
    test_db: ScratchDatabase, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "SECONDS", 1)
    monkeypatch.setattr("app.storage.database.HUNG_SECONDS", 0.5)
    with test_db.outage(), pytest.raises(DatabaseUnavailable):
        database.run(WRITE, {})
    with pytest.raises(DatabaseUnavailable) as caught:
        database.run(WRITE, {})  # it is back, but nobody asks
    assert caught.value.__cause__ is None
    time.sleep(0.5)
    database.run(WRITE, {})


def test_pool_timeout_means_nothing_was_sent(test_db: ScratchDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "POOL_SECONDS", 0.05)
    database = Database(test_db.url)
    with ExitStack() as stack:
        for _ in range(engines.POOL_SIZE):
            stack.enter_context(database.connection(reads=True))
        with pytest.raises(DatabaseUnavailable) as caught:
            database.run(WRITE, {})
    assert not isinstance(caught.value, CommitOutcomeUnknown)
    database.run(WRITE, {})
    database.engine.dispose()


@on_postgresql
def test_a_connection_that_breaks_at_the_commit_leaves_it_undecided(
    test_db: ScratchDatabase, database: Database
) -> None:
    def write_and_break() -> None:
        with database.connection() as connection:
            connection.execute(WRITE)
            broken: Any = connection.connection.dbapi_connection
            broken.pgconn.finish()

    with pytest.raises(CommitOutcomeUnknown):
        write_and_break()


def test_a_statement_that_finds_nothing_has_no_row(database: Database) -> None:
    assert database.run(text("UPDATE api_keys SET name = 'new' RETURNING id"), {}) is None


def test_a_statement_is_a_transaction_of_its_own(database: Database, make_key: MakeKey) -> None:
    make_key(name="old")
    assert database.run(text("UPDATE api_keys SET name = 'new' RETURNING id"), {}) is not None
    assert ApiKeyStore(database).get("new")


@on_postgresql
def test_a_restart_while_nothing_is_asked_costs_nobody_anything(test_db: ScratchDatabase, database: Database) -> None:
    with database.connection(), database.connection():  # two in the pool
        pass
    with test_db.outage():
        pass
    assert [answer_of(database) for _ in range(3)] == [42] * 3


@on_postgresql
def test_nobody_there_is_told_as_nothing_sent(test_db: ScratchDatabase, database: Database) -> None:
    assert answer_of(database) == 42
    with test_db.outage(), pytest.raises(DatabaseUnavailable) as caught:
        answer_of(database)
    assert not isinstance(caught.value, CommitOutcomeUnknown)


@on_postgresql
def test_a_connection_that_breaks_under_a_statement_leaves_it_undecided(
    test_db: ScratchDatabase, database: Database
) -> None:
    with pytest.raises(CommitOutcomeUnknown):
        database.run(text("SELECT pg_terminate_backend(pg_backend_pid())"), {})
    assert answer_of(database) == 42


@on_postgresql
def test_a_transaction_that_breaks_before_its_commit_has_not_been(test_db: ScratchDatabase, database: Database) -> None:
    with pytest.raises(DatabaseUnavailable) as caught, database.connection() as connection:
        connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    assert not isinstance(caught.value, CommitOutcomeUnknown)


@on_postgresql
def test_what_comes_after_a_row_of_usage_waits_for_the_disk(
    test_db: ScratchDatabase, database: Database, make_key: MakeKey
) -> None:
    UsageStore(database).add(usage_row(make_key()))
    row = database.run(text("SELECT current_setting('synchronous_commit') AS found"), {})
    assert row is not None
    assert row.found == "on"


@on_postgresql
def test_what_waits_for_a_lock_too_long_is_known_not_to_be_done(
    test_db: ScratchDatabase,
    keys: ApiKeyStore,
    make_key: MakeKey,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The server gives up first: nothing is done later, when nobody expects it, and it is not said to be gone."""
    key_id = make_key(100)
    monkeypatch.setattr(engines, "SERVER_MILLISECONDS", 300)
    database = Database(test_db.url)
    with psycopg.connect(test_db.url) as somebody:
        somebody.execute("UPDATE api_keys SET name = name")
        with pytest.raises(DatabaseUnavailable) as caught:
            Ledger(database).reserve(Reservation("1", key_id, "r", "o", pictures=1, price=100))
    assert not isinstance(caught.value, CommitOutcomeUnknown)
    assert "gone" not in caplog.text
    assert Ledger(database).open_owners() == []
    assert keys.by_id(key_id).balance == 100
    database.engine.dispose()


@on_postgresql
def test_a_connection_that_has_broken_is_made_anew_as_often_as_it_breaks(
    test_db: ScratchDatabase, database: Database
) -> None:
    for _ in range(3):
        assert answer_of(database) == 42
        end_all_connections(test_db.url)


def end_all_connections(url: str) -> None:
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"SELECT pg_terminate_backend(pid) {others}")
        wait_until(lambda: connection.execute(f"SELECT count(*) {others}").fetchone() == (0,), "all are gone")


@on_postgresql
def test_the_isolation_is_ours_whatever_the_server_s_is(test_db: ScratchDatabase) -> None:
    """A statement that waited for another's row would fail under any higher one."""
    with psycopg.connect(test_db.url, autocommit=True) as owner:
        [name] = owner.execute("SELECT current_database()").fetchone() or [""]
        owner.execute(f"ALTER DATABASE \"{name}\" SET default_transaction_isolation TO 'repeatable read'")
    database = Database(test_db.url)
    row = database.run(text("SELECT current_setting('transaction_isolation') AS found"), {})
    assert row is not None
    assert row.found == "read committed"
    database.engine.dispose()


@on_postgresql
def test_no_call_waits_for_long_and_a_command_for_as_long_as_it_takes(
    test_db: ScratchDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "SECONDS", 1)
    impatient, patient = Database(test_db.url), Database(test_db.url, patient=True)
    slow = text("SELECT pg_sleep(1.5)")
    with pytest.raises(CommitOutcomeUnknown):
        impatient.run(slow, {})
    assert patient.run(slow, {}) is not None
    for database in (impatient, patient):
        database.engine.dispose()
