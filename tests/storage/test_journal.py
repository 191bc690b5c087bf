"""What could not be written while the database was gone lands when it is back, once."""

from __future__ import annotations

import errno
import json
import logging
import multiprocessing
import os
import threading
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update

from app.errors import DatabaseUnavailable
from app.storage.journal import Journal, JournalUnusable, ReplayResult
from app.storage.process_identity import is_dead, process_id
from app.storage.reservations import Reservation, Settlement
from app.storage.storage import Storage
from app.storage.tables import ReservationRecord, UsageRecord, now
from tests.storage.conftest import open_storage
from tests.support.databases import ScratchDatabase

GONE_HOST = "host/boot/1/2/3"  # of which nothing is known here


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "not made yet" / "journal"


def usage_row(key_id: int, **columns: Any) -> dict[str, Any]:
    row = {
        "id": uuid.uuid4().hex,
        "key_id": key_id,
        "created_at": datetime.now(UTC).isoformat(),
        "request_id": "a-request",
        "endpoint": "/v1/images/generations",
        "model": "MiniMax-Image-01",
        "asked": 1,
        "delivered": 1,
        "charged": 100,
        "status": 200,
        "code": None,
        "milliseconds": 5,
        "trace_id": None,
    }
    return row | columns


def usage_rows(storage: Storage) -> int:
    with storage.database.transaction(read_only=True) as session:
        return session.scalar(select(func.count()).select_from(UsageRecord)) or 0


def test_pieces_come_in_and_are_forgotten(folder: Path) -> None:
    journal = Journal(folder)
    landed: list[dict[str, Any]] = []
    assert journal.replay({}) == ReplayResult(0, 0)
    journal.add("end", "1", {"a": 1}, request_id="a-request")
    journal.add("usage", "2", {"b": "ü"}, request_id="a-request")
    assert sorted(path.name for path in folder.iterdir()) == ["end-1.json", "usage-2.json"]
    assert json.loads((folder / "end-1.json").read_text()) == {"a": 1}
    assert journal.replay({"end": landed.append, "usage": landed.append}) == ReplayResult(2, 0)
    assert landed == [{"a": 1}, {"b": "ü"}]
    assert list(folder.iterdir()) == []


def test_what_was_not_written_whole_is_not_read(folder: Path) -> None:
    journal = Journal(folder)
    journal.add("end", "1", {}, request_id="a-request")
    (folder / "end-2.new").write_text('{"reservation_id": "ha')
    assert journal.replay({"end": lambda _: None}) == ReplayResult(1, 0)


def test_what_cannot_be_written_leaves_nothing_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        Journal(folder).add("end", "1", {}, request_id="a-request")
    assert list(folder.iterdir()) == []


def test_nothing_is_forgotten_while_the_database_is_gone(folder: Path) -> None:
    journal = Journal(folder)
    journal.add("end", "1", {}, request_id="a-request")
    journal.add("end", "2", {}, request_id="a-request")

    def land(_: Mapping[str, Any]) -> None:
        raise DatabaseUnavailable

    with pytest.raises(DatabaseUnavailable):
        journal.replay({"end": land})
    assert len(list(folder.iterdir())) == 2


def test_a_piece_that_cannot_land_keeps_no_other_waiting(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal(folder)
    landed: list[dict[str, Any]] = []
    for number in range(3):
        journal.add("end", str(number), {"number": number}, request_id="a-request")
    (folder / "end-0.json").write_text("no JSON")
    journal.add("other", "x", {}, request_id="a-request")
    assert journal.replay({"end": landed.append}) == ReplayResult(2, 2)
    assert [piece["number"] for piece in landed] == [1, 2]
    assert journal.replay({"end": landed.append}) == ReplayResult(0, 2)  # and is not told of again
    assert journal.waiting() == 2
    assert sorted(path.name for path in folder.iterdir()) == ["end-0.json", "other-x.json"]
    failures = [record.levelno for record in caplog.records if "cannot be replayed" in record.message]
    assert failures == [logging.ERROR] * 2


def test_a_settlement_lands_once_however_often_it_is_brought_in(storage: Storage) -> None:
    key_id = new_key(storage)
    reservation_id = reserve(storage, key_id)
    piece = {"reservation_id": reservation_id, "outcome": "settle", "delivered": 1, "trace_id": "trace"}
    for _ in range(2):
        storage.journal.add("end", reservation_id, piece, request_id="a-request")
        assert storage.maintenance.run().applied == 1
    assert storage.keys.by_id(key_id).balance == 900
    assert storage.ledger.check() == []


@pytest.mark.parametrize(("outcome", "stays"), [("settle", True), ("unknown", True), ("release", False)])
def test_a_settlement_for_another_database_is_kept(storage: Storage, outcome: str, stays: bool) -> None:
    """A mistaken DATABASE_URL must not eat charges. A release may be of what was never reserved."""
    elsewhere = uuid.uuid4().hex
    piece = {"reservation_id": elsewhere, "outcome": outcome, "delivered": 1}
    storage.journal.add("end", elsewhere, piece, request_id="a-request")
    done = storage.maintenance.run()
    assert (done.applied, done.failed, storage.journal.waiting()) == (not stays, stays, stays)


def test_a_row_of_usage_lands_once(storage: Storage) -> None:
    row = usage_row(new_key(storage))
    storage.record_usage(row)
    storage.journal.add("usage", row["id"], row, request_id="a-request")
    assert storage.maintenance.run().applied == 1
    assert usage_rows(storage) == 1


def test_a_row_that_is_refused_costs_nobody_an_answer(storage: Storage, caplog: pytest.LogCaptureFixture) -> None:
    storage.record_usage(usage_row(4711))
    assert "Usage row lost" in caplog.text


def test_the_journal_knows_more_than_the_sweep(storage: Storage) -> None:
    """A worker that wrote its settlement down and died is not one of whom nothing is known."""
    key_id = new_key(storage)
    reservation_id = reserve(storage, key_id, owner=dead_owner())
    piece = {"reservation_id": reservation_id, "outcome": "settle", "delivered": 1}
    storage.journal.add("end", reservation_id, piece, request_id="a-request")
    unknown = reserve(storage, key_id, owner=dead_owner())
    done = storage.maintenance.run()
    assert (done.applied, done.swept) == (1, 1)
    assert storage.keys.by_id(key_id).balance == 900
    assert storage.ledger.close_reservation(Settlement(unknown, "release")) is None


def test_the_living_and_the_unknown_are_not_swept(storage: Storage) -> None:
    key_id = new_key(storage)
    reserve(storage, key_id, owner=process_id())
    reserve(storage, key_id, owner=GONE_HOST)
    *place, _pid, _start = process_id().split("/")
    reserve(storage, key_id, owner="/".join([place[0], place[1], "another container", "999999", "1"]))
    assert storage.maintenance.run().swept == 0
    assert len(storage.ledger.open_owners()) == 3
    assert storage.ledger.sweep(before=now()) == 3  # by age, then


def test_many_processes_bring_in_one_folder(storage: Storage, test_db: ScratchDatabase, tmp_path: Path) -> None:
    """Each piece lands once, also where they all have it in their hands."""
    key_id = new_key(storage, balance=100 * 40)
    rows = [usage_row(key_id) for _ in range(40)]
    for row in rows:
        reservation_id = reserve(storage, key_id)
        piece = {"reservation_id": reservation_id, "outcome": "settle", "delivered": 1}
        storage.journal.add("end", reservation_id, piece, request_id="a-request")
        storage.journal.add("usage", row["id"], row, request_id="a-request")
    storage.database.engine.dispose()
    context = multiprocessing.get_context("spawn")
    begin = context.Barrier(3)
    processes = [
        context.Process(target=_bring_in, args=(test_db.url, tmp_path / "journal", begin)) for _ in range(begin.parties)
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


def _bring_in(url: str, folder: Path, begin: threading.Barrier) -> None:
    storage = open_storage(url, folder)
    begin.wait()
    storage.maintenance.run()
    storage.database.engine.dispose()


def new_key(storage: Storage, balance: int = 1000) -> int:
    name = uuid.uuid4().hex
    storage.keys.create(name, balance=balance)
    return storage.keys.get(name).id


def reserve(storage: Storage, key_id: int, owner: str = GONE_HOST) -> str:
    reservation_id = uuid.uuid4().hex
    storage.ledger.reserve(Reservation(reservation_id, key_id, "a-request", owner, images=1, price=100))
    return reservation_id


def dead_owner() -> str:
    """A process of this machine that has ended."""
    *place, _pid, _start = process_id().split("/")
    child = os.posix_spawn("/bin/true", ["/bin/true"], {})
    os.waitpid(child, 0)
    return "/".join([*place, str(child), "1"])


@pytest.mark.parametrize(("minutes", "swept"), [(14, 0), (16, 1)])
def test_another_machine_s_are_swept_a_while_after_their_longest_call(
    storage: Storage, minutes: int, swept: int
) -> None:
    reserve(storage, new_key(storage), owner=GONE_HOST)
    begun = now() - timedelta(seconds=60, minutes=minutes)  # 60 is `open_storage`'s longest call
    with storage.database.connection() as connection:
        connection.execute(update(ReservationRecord).values(created_at=begun))
    assert storage.maintenance.run().swept == swept


def test_another_user_s_process_that_proc_hides_is_not_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = dead_owner()
    assert is_dead(hidden)

    def refuse(_pid: int, _signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    assert not is_dead(hidden)


def test_a_folder_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    """Rather than being found out when money hangs on it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalUnusable, match="AMUX_JOURNAL_FOLDER cannot be written to"):
        Journal(tmp_path / "file" / "journal").check_folder()
    Journal(tmp_path / "new" / "journal").check_folder()
    assert list((tmp_path / "new" / "journal").iterdir()) == []
