"""Group commit: writes that wait together share a transaction, and none is the worse for another one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import IntegrityError

from app.errors import DatabaseUnavailable, InsufficientBalance
from app.storage.api_keys import ApiKeyStore
from app.storage.database import CommitOutcomeUnknown, Database, TransactionRolledBack
from app.storage.group_commit import MAX_BATCH, GroupCommit
from app.storage.ledger import Ledger
from app.storage.reservations import Reservation
from tests.storage.conftest import MakeKey
from tests.support.databases import ScratchDatabase

RENAME = text("UPDATE api_keys SET name = name RETURNING id")


def in_threads(functions: list[Callable[[], Any]]) -> list[Any]:
    """What each function returns or raises; all of them run at once."""
    found: list[Any] = [None] * len(functions)

    def run(at: int) -> None:
        try:
            found[at] = functions[at]()
        except Exception as error:
            found[at] = error

    threads = [threading.Thread(target=run, args=(at,)) for at in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@contextmanager
def held(group: GroupCommit) -> Iterator[threading.Event]:
    """A write that keeps the group busy until the event is set, so that later ones wait together."""
    begun, release = threading.Event(), threading.Event()

    def hold(_connection: Connection) -> None:
        begun.set()
        release.wait(30)

    thread = threading.Thread(target=group.write, args=(hold,))
    thread.start()
    begun.wait(30)
    try:
        yield release
    finally:
        release.set()
        thread.join()


def waiting_together(group: GroupCommit, functions: list[Callable[[], Any]]) -> list[Any]:
    with held(group) as release:

        def let_go() -> None:
            while group._waiting.qsize() < len(functions):
                pass
            release.set()

        threading.Thread(target=let_go).start()
        return in_threads(functions)


@pytest.fixture
def commits(database: Database) -> list[None]:
    """Grows with each commit of this database: other tests leave threads that commit to theirs."""
    counted: list[None] = []
    event.listen(database.engine, "commit", lambda _connection: counted.append(None))
    return counted


def reservation(key_id: int, number: int = 0, price: int = 10) -> Reservation:
    return Reservation(f"{key_id}-{number}", key_id, "request", "owner", images=1, price=price)


def test_writes_that_wait_together_are_one_transaction(
    database: Database, make_key: MakeKey, commits: list[None]
) -> None:
    group, key_id = GroupCommit(database), make_key(1000)
    ledger = Ledger(database, group)
    commits.clear()
    balances = waiting_together(group, [partial(ledger.reserve, reservation(key_id, number)) for number in range(20)])
    assert sorted(balances) == [1000 - 10 * number for number in range(20, 0, -1)]
    assert len(commits) == 2  # that of the write which held the group, and one for all
    assert ledger.check() == []


def test_more_than_a_batch(database: Database, make_key: MakeKey) -> None:
    group, key_id = GroupCommit(database), make_key(10**6)
    ledger, count = Ledger(database, group), MAX_BATCH + 5
    waiting_together(group, [partial(ledger.reserve, reservation(key_id, number)) for number in range(count)])
    assert ApiKeyStore(database).by_id(key_id).balance == 10**6 - 10 * count


def test_an_insufficient_balance_is_the_callers_alone(database: Database, make_key: MakeKey) -> None:
    group, rich, poor = GroupCommit(database), make_key(1000, name="rich"), make_key(5, name="poor")
    ledger = Ledger(database, group)
    found = waiting_together(group, [partial(ledger.reserve, reservation(key)) for key in (poor, rich)])
    assert isinstance(found[0], InsufficientBalance)
    assert (found[0].balance, found[1]) == (5, 990)
    assert ledger.check() == []


def test_a_wrong_write_fails_alone(database: Database, make_key: MakeKey) -> None:
    group, key_id = GroupCommit(database), make_key(1000)
    ledger = Ledger(database, group)
    unknown_key = text("INSERT INTO ledger (key_id, kind, amount, created_at) VALUES (999, 'credit', 1, '2026-01-01')")
    found = waiting_together(
        group,
        [
            lambda: ledger.reserve(reservation(key_id, 1)),
            lambda: group.write(lambda connection: connection.execute(unknown_key)),
            lambda: ledger.reserve(reservation(key_id, 2)),
        ],
    )
    assert isinstance(found[1], IntegrityError)
    assert sorted((found[0], found[2])) == [980, 990]
    assert ledger.check() == []


def test_a_transaction_that_is_rolled_back_is_tried_singly(database: Database, make_key: MakeKey) -> None:
    """As after a deadlock of two processes' batches."""
    group, key_id = GroupCommit(database), make_key(1000)
    ledger, failures = Ledger(database, group), [TransactionRolledBack()]

    def fail_once(connection: Connection) -> int:
        if failures:
            raise failures.pop()
        return len(connection.execute(RENAME).all())

    found = waiting_together(group, [lambda: group.write(fail_once), lambda: ledger.reserve(reservation(key_id))])
    assert found == [1, 990]


@pytest.mark.parametrize("kind", [DatabaseUnavailable, CommitOutcomeUnknown])
def test_an_outage_fails_the_batch_with_an_exception_for_each_write(
    database: Database, kind: type[DatabaseUnavailable]
) -> None:
    group = GroupCommit(database)
    calls: list[None] = []

    def fail(_connection: Connection) -> None:
        calls.append(None)
        raise kind

    found = waiting_together(group, [lambda: group.write(fail) for _ in range(5)])
    assert [type(error) for error in found] == [kind] * 5
    assert len(set(map(id, found))) == 5
    assert len(calls) == 1  # the first ended the transaction, and nothing is written twice


def test_a_real_outage(test_db: ScratchDatabase, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.storage.engines.DATABASE_TIMEOUT_SECONDS", 1)
    group = GroupCommit(database)
    with test_db.outage():
        found = in_threads([lambda: group.write(lambda connection: connection.execute(RENAME).all())] * 3)
        assert [isinstance(error, DatabaseUnavailable) for error in found] == [True] * 3
    database._availability._fail_fast_until = 0
    assert group.write(lambda connection: connection.execute(RENAME).all()) == []
