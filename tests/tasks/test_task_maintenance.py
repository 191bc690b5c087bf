"""The maintenance of tasks: it replays the journal, repeats writes, and sweeps when no outage hides living workers."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest

from app.errors import DatabaseUnavailable, OutcomeUnknown
from app.objects.store import ObjectsUnavailable
from app.storage.database import Database
from app.storage.task_store import SqlTaskStore
from app.tasks.answer_journal import AnswerJournal
from app.tasks.answer_keeper import AnswerKeeper
from app.tasks.outages import BEAT_AGAIN_SECONDS
from app.tasks.supervisor import Supervisor
from app.tasks.task_maintenance import TaskMaintenance
from tests.support.databases import ScratchDatabase
from tests.support.task_stores import (
    LARGE,
    LARGE_ANSWER,
    content,
    new_attendant,
    new_call,
    new_task,
    open_objects,
    open_task_store,
    runs,
    silence,
    stored,
)
from tests.support.waiting import wait_until


@pytest.fixture
def maintenance(supervisor: Supervisor) -> TaskMaintenance:
    """Of a gateway that has run for some time."""
    supervisor._outages._failed_at = time.monotonic() - 2 * BEAT_AGAIN_SECONDS
    return supervisor.maintenance


@pytest.mark.parametrize("fails", [False, True], ids=["the store works", "after an outage"])
def test_tasks_of_dead_workers_fail_unless_the_store_was_unavailable(
    store: SqlTaskStore, supervisor: Supervisor, maintenance: TaskMaintenance, database: Database, fails: bool
) -> None:
    task = new_task()
    store.begin(task, None)
    silence(database)
    if fails:
        supervisor._outages.store_failed()
    maintenance.run()
    assert stored(store, task).state == ("queued" if fails else "failed")


def test_a_write_is_repeated_once_the_store_is_available(
    store: SqlTaskStore, maintenance: TaskMaintenance, test_db: ScratchDatabase
) -> None:
    task, attendant = new_task(), new_attendant()
    store.begin(task, attendant)
    maintenance.repeat(lambda: store.leave(task.id, attendant))
    maintenance.forget("of a task that was never written")
    with test_db.outage(), pytest.raises(DatabaseUnavailable):
        maintenance.run()
    wait_until(lambda: runs(maintenance))
    assert store.withdraw(task.id)  # nobody attends it
    assert not maintenance._writes


# The journal


def test_an_answer_in_the_journal_is_replayed_once(store: SqlTaskStore, journal: AnswerJournal, tmp_path: Path) -> None:
    task = new_task("k")
    store.begin(task, None)
    journal.add(task, LARGE_ANSWER, keep=True)
    for _ in range(2):
        journal.replay(store)
    assert content(store, task) == b"".join(LARGE)
    assert files_in(tmp_path / "journal") == []


def test_an_answer_is_journaled_while_the_database_is_down(
    store: SqlTaskStore,
    journal: AnswerJournal,
    supervisor: Supervisor,
    maintenance: TaskMaintenance,
    database: Database,
    test_db: ScratchDatabase,
) -> None:
    call = new_call(idempotency_key="k")
    store.begin(call.task, None)
    call.is_stored = True
    keeper = AnswerKeeper(store, journal, supervisor)
    with test_db.outage():
        keeper.fail(call, OutcomeUnknown(), keep=True)
    wait_until(lambda: runs(maintenance))
    assert stored(store, call.task).code == "outcome_unknown"
    silence(database)
    store.sweep()
    assert stored(store, call.task).http_status == 502


def test_an_answer_that_has_become_too_large_ends_as_unknown(
    database: Database, journal: AnswerJournal, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """`AMUX_ANSWER_BYTES` was lowered between the call and the replay."""
    store = open_task_store(database, open_objects(database, tmp_path / "answers"), max_bytes=len(LARGE) - 1)
    task = new_task("k")
    store.begin(task, None)
    journal.add(task, LARGE_ANSWER, keep=True)
    journal.replay(store)
    assert stored(store, task).code == "outcome_unknown"
    assert files_in(tmp_path / "journal") == []
    assert [record.levelno for record in caplog.records] == [logging.CRITICAL]


def test_a_store_of_bodies_that_does_not_respond_is_asked_once(
    store: SqlTaskStore,
    journal: AnswerJournal,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for _ in range(3):
        journal.add(new_task("k"), LARGE_ANSWER, keep=True)
    before = files_in(tmp_path / "journal")
    asked: list[str] = []

    def fail(name: str, *_: object) -> None:
        asked.append(name)
        raise ObjectsUnavailable

    monkeypatch.setattr(store._objects, "write", fail)
    for _ in range(2):
        journal.replay(store)
    assert len(asked) == 2  # once in each round
    assert len(caplog.records) == 1
    assert files_in(tmp_path / "journal") == before


def files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
