"""Maintenance applies journal entries once, and sweeps only reservations that nobody will close."""

from __future__ import annotations

import multiprocessing
import os
import threading
import uuid
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from app.storage.process_identity import is_dead, process_id
from app.storage.reservations import Reservation, Settlement
from app.storage.storage import Storage
from app.storage.tables import ReservationRecord, UsageRecord
from app.storage.times import now
from tests.storage.conftest import open_storage
from tests.storage.test_journal import usage_row
from tests.support.databases import ScratchDatabase

FOREIGN_PROCESS = "host/boot/1/2/3"  # of another machine


def usage_rows(storage: Storage) -> int:
    with storage.database.transaction(read_only=True) as session:
        return session.scalar(select(func.count()).select_from(UsageRecord)) or 0


def test_replayed_settlement_is_applied_once(storage: Storage) -> None:
    key_id = new_key(storage)
    reservation_id = reserve(storage, key_id)
    entry = {"reservation_id": reservation_id, "outcome": "settle", "delivered": 1, "trace_id": "trace"}
    for _ in range(2):
        storage.journal.add("end", reservation_id, entry, request_id="a-request")
        assert storage.maintenance.run().applied == 1
    assert storage.keys.by_id(key_id).balance == 900
    assert storage.ledger.check() == []


@pytest.mark.parametrize(("outcome", "stays"), [("settle", True), ("unknown", True), ("release", False)])
def test_settlement_of_another_database_is_kept(storage: Storage, outcome: str, stays: bool) -> None:
    """A wrong DATABASE_URL must not lose charges. A release may be of a reservation that was never written."""
    elsewhere = uuid.uuid4().hex
    entry = {"reservation_id": elsewhere, "outcome": outcome, "delivered": 1}
    storage.journal.add("end", elsewhere, entry, request_id="a-request")
    done = storage.maintenance.run()
    assert (done.applied, done.failed, storage.journal.waiting()) == (not stays, stays, stays)


def test_replayed_usage_row_is_added_once(storage: Storage) -> None:
    row = usage_row(new_key(storage))
    storage.record_usage(row)
    storage.journal.add("usage", row["id"], row, request_id="a-request")
    assert storage.maintenance.run().applied == 1
    assert usage_rows(storage) == 1


def test_rejected_usage_row_raises_nothing(storage: Storage, caplog: pytest.LogCaptureFixture) -> None:
    storage.record_usage(usage_row(4711))
    assert "Usage row lost" in caplog.text


def test_journal_is_replayed_before_the_sweep(storage: Storage) -> None:
    """The journaled settlement of a worker that died counts, and not that the worker is dead."""
    key_id = new_key(storage)
    reservation_id = reserve(storage, key_id, owner=dead_owner())
    entry = {"reservation_id": reservation_id, "outcome": "settle", "delivered": 1}
    storage.journal.add("end", reservation_id, entry, request_id="a-request")
    unknown = reserve(storage, key_id, owner=dead_owner())
    done = storage.maintenance.run()
    assert (done.applied, done.swept) == (1, 1)
    assert storage.keys.by_id(key_id).balance == 900
    assert storage.ledger.close_reservation(Settlement(unknown, "release")) is None


def test_reservations_of_live_and_foreign_processes_are_not_swept(storage: Storage) -> None:
    key_id = new_key(storage)
    reserve(storage, key_id, owner=process_id())
    reserve(storage, key_id, owner=FOREIGN_PROCESS)
    *place, _pid, _start = process_id().split("/")
    reserve(storage, key_id, owner="/".join([place[0], place[1], "another container", "999999", "1"]))
    assert storage.maintenance.run().swept == 0
    assert len(storage.ledger.open_owners()) == 3
    assert storage.ledger.sweep(before=now()) == 3  # by age


def test_concurrent_processes_replay_each_entry_once(
    storage: Storage, test_db: ScratchDatabase, tmp_path: Path
) -> None:
    """Each entry takes effect once, even if several processes have read it."""
    key_id = new_key(storage, balance=100 * 40)
    rows = [usage_row(key_id) for _ in range(40)]
    for row in rows:
        reservation_id = reserve(storage, key_id)
        entry = {"reservation_id": reservation_id, "outcome": "settle", "delivered": 1}
        storage.journal.add("end", reservation_id, entry, request_id="a-request")
        storage.journal.add("usage", row["id"], row, request_id="a-request")
    storage.database.engine.dispose()
    context = multiprocessing.get_context("spawn")
    begin = context.Barrier(3)
    processes = [
        context.Process(target=_replay, args=(test_db.url, tmp_path / "journal", begin)) for _ in range(begin.parties)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert list((tmp_path / "journal").iterdir()) == []
    assert storage.keys.by_id(key_id).balance == 0
    assert usage_rows(storage) == 40
    assert storage.ledger.check() == []


def _replay(url: str, folder: Path, begin: threading.Barrier) -> None:
    storage = open_storage(url, folder)
    begin.wait()
    storage.maintenance.run()
    storage.database.engine.dispose()


@pytest.mark.parametrize(("minutes", "swept"), [(14, 0), (16, 1)])
def test_reservations_of_other_machines_are_swept_by_age(storage: Storage, minutes: int, swept: int) -> None:
    reserve(storage, new_key(storage), owner=FOREIGN_PROCESS)
    created_at = now() - timedelta(seconds=60, minutes=minutes)  # 60 s is `max_call_seconds` of `open_storage`
    with storage.database.connection() as connection:
        connection.execute(update(ReservationRecord).values(created_at=created_at))
    assert storage.maintenance.run().swept == swept


def new_key(storage: Storage, balance: int = 1000) -> int:
    name = uuid.uuid4().hex
    storage.keys.create(name, balance=balance)
    return storage.keys.get(name).id


def reserve(storage: Storage, key_id: int, owner: str = FOREIGN_PROCESS) -> str:
    reservation_id = uuid.uuid4().hex
    storage.ledger.reserve(Reservation(reservation_id, key_id, "a-request", owner, images=1, price=100))
    return reservation_id


def dead_owner() -> str:
    """The id of a process of this machine that has ended."""
    *place, _pid, _start = process_id().split("/")
    child = os.posix_spawn("/bin/true", ["/bin/true"], {})
    os.waitpid(child, 0)
    return "/".join([*place, str(child), "1"])


def test_process_hidden_by_proc_is_not_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = dead_owner()
    assert is_dead(hidden)

    def deny(_pid: int, _signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", deny)
    assert not is_dead(hidden)
