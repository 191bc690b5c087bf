"""The supervisor of a worker: it registers calls, wakes who waits, beats, replays the journal and survives failures."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from app.accounts.api_key import Caller
from app.accounts.receipt import Receipt
from app.errors import DatabaseUnavailable, OutcomeUnknown
from app.model_catalog import MODELS
from app.native_thread import NativeThreads
from app.objects.file_objects import FileObjects
from app.services.image_request import ImageRequest
from app.spooling.json_writer import JsonBody
from app.storage.database import Database
from app.storage.task_store import SqlTaskStore
from app.storage.task_tables import WORKERS
from app.tasks.answer_journal import AnswerJournal
from app.tasks.answer_keeper import AnswerKeeper
from app.tasks.call import Call
from app.tasks.supervisor import Supervisor
from tests.support.databases import ScratchDatabase
from tests.support.task_stores import (
    ANSWER,
    CALLER,
    LARGE,
    LARGE_ANSWER,
    ago,
    content,
    new_attendant,
    new_task,
    open_objects,
    open_task_store,
    park,
    silence,
    stored,
)

WAIT_SECONDS = 20


@pytest.fixture
def store(database: Database, tmp_path: Path) -> SqlTaskStore:
    return open_task_store(database, open_objects(database, tmp_path / "answers"))


@pytest.fixture
def journal(tmp_path: Path) -> AnswerJournal:
    return AnswerJournal(FileObjects(tmp_path / "journal", NativeThreads(0)))


@pytest.fixture
def supervisor(store: SqlTaskStore, journal: AnswerJournal) -> Supervisor:
    """Not started: its thread never ends."""
    return Supervisor(store, journal)


def new_call(**fields: Any) -> Call:
    request = ImageRequest(model=next(iter(MODELS)), prompt="a prompt", n=1, response_format="url")
    return Call(Caller(CALLER), request, "generations", "a-request", Receipt(), **fields)


def test_a_registered_call_is_joined(store: SqlTaskStore, supervisor: Supervisor) -> None:
    call, ended = new_call(), new_call()
    ended.is_over = True
    assert supervisor.register([call, ended])
    assert not supervisor.register([call, ended])
    assert store.find(CALLER, ended.id) is None
    found = store.claim(CALLER, call.digest, 1, new_attendant())
    assert found is not None
    assert found.id == call.id


def test_a_task_that_has_ended_or_is_gone_is_not_waited_for(store: SqlTaskStore, supervisor: Supervisor) -> None:
    task = new_task()
    store.finish(task, ANSWER, keep=True)
    for task_id in (task.id, "gone"):
        supervisor.wait(task_id, 10 * WAIT_SECONDS)  # the test would end by its time limit


def test_an_answer_of_this_process_wakes_who_waits(store: SqlTaskStore, supervisor: Supervisor) -> None:
    task = new_task()
    store.begin(task, None)
    waiters = [waiting(supervisor, task.id) for _ in range(2)]
    while len(supervisor._waiters.get(task.id, ())) < 2:
        time.sleep(0.01)
    supervisor.notify("another")
    supervisor.notify(task.id)
    for waiter in waiters:
        waiter.join(WAIT_SECONDS)
        assert not waiter.is_alive()
    assert supervisor._waiters == {}


def waiting(supervisor: Supervisor, task_id: str) -> threading.Thread:
    thread = threading.Thread(target=supervisor.wait, args=(task_id, 10 * WAIT_SECONDS), daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("test_db", ["answers.db"], indirect=True)
class TestThread:
    """What the thread does; each test leaves one behind, on a store that goes on working."""

    @pytest.fixture
    def started(self, supervisor: Supervisor) -> Iterator[Supervisor]:
        supervisor.start()
        yield supervisor
        park(supervisor)

    def test_an_answer_of_another_process_wakes_who_waits(self, store: SqlTaskStore, started: Supervisor) -> None:
        task = new_task()
        store.begin(task, None)
        waiter = waiting(started, task.id)
        store.finish(task, ANSWER, keep=True)
        waiter.join(WAIT_SECONDS)
        assert not waiter.is_alive()

    def test_an_old_call_is_registered_and_a_quick_one_is_not(self, store: SqlTaskStore, started: Supervisor) -> None:
        old, quick = new_call(started=time.monotonic() - 60), new_call(started=time.monotonic() + 60)
        for call in (old, quick):
            started.add(call)
        wait_until(lambda: old.is_stored)
        assert store.find(CALLER, old.id)
        assert not quick.is_stored

    def test_a_worker_with_calls_beats(self, store: SqlTaskStore, started: Supervisor, database: Database) -> None:
        call = new_call(started=time.monotonic() - 60)
        started.add(call)
        wait_until(lambda: call.is_stored)
        with database.connection() as connection:
            connection.execute(update(WORKERS).values(seen_at=ago(9)))
        wait_until(lambda: seen_at(database) > ago(8))
        store.sweep()
        assert stored(store, call.task).is_running

    def test_a_large_answer_that_is_being_written_does_not_hold_the_thread_up(self, started: Supervisor) -> None:
        writing, other = (new_call(started=time.monotonic() - 60) for _ in range(2))
        writing.body = JsonBody({})
        with writing.lock:
            for call in (writing, other):
                started.add(call)
            wait_until(lambda: other.is_stored)

    def test_the_thread_survives_what_it_does_not_expect(
        self, started: Supervisor, store: SqlTaskStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        broken: Any = None
        started._calls["broken"] = broken
        wait_until(lambda: "Task supervision failed" in caplog.text)
        del started._calls["broken"]
        call = new_call(started=time.monotonic() - 60)
        started.add(call)
        wait_until(lambda: call.is_stored)


def wait_until(holds: Callable[[], bool]) -> None:
    give_up = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < give_up
        time.sleep(0.02)


@pytest.mark.parametrize(("stalled", "state"), [(0, "failed"), (60, "queued")])
def test_no_worker_is_dead_after_a_stall(
    store: SqlTaskStore, supervisor: Supervisor, database: Database, stalled: float, state: str
) -> None:
    task = new_task()
    store.begin(task, None)
    silence(database)
    supervisor._failed_at = time.monotonic() - 60
    supervisor._note_stall(time.time() - stalled)
    supervisor._sweep()
    assert stored(store, task).state == state


# The journal, which the sweep replays


def test_an_answer_in_the_journal_is_replayed_once(store: SqlTaskStore, journal: AnswerJournal, tmp_path: Path) -> None:
    task = new_task("k")
    store.begin(task, None)
    journal.add(task, LARGE_ANSWER, keep=True)
    for _ in range(2):
        journal.replay(store)
    assert content(store, task) == b"".join(LARGE)
    assert [path for path in (tmp_path / "journal").rglob("*") if path.is_file()] == []


def test_an_answer_is_journaled_while_the_database_is_down(
    store: SqlTaskStore,
    journal: AnswerJournal,
    supervisor: Supervisor,
    database: Database,
    test_db: ScratchDatabase,
) -> None:
    call = new_call(idempotency_key="k")
    store.begin(call.task, None)
    call.is_stored = True
    keeper = AnswerKeeper(store, journal, supervisor)
    with test_db.outage():
        keeper.fail(call, OutcomeUnknown(), keep=True)
    wait_until(lambda: is_replayed(journal, store))
    assert stored(store, call.task).code == "outcome_unknown"
    silence(database)
    store.sweep()
    assert stored(store, call.task).http_status == 502


def seen_at(database: Database) -> datetime:
    """When the only worker was alive."""
    with database.connection(read_only=True) as connection:
        seen: datetime = connection.execute(select(WORKERS.c.seen_at)).scalar_one()
        return seen


def is_replayed(journal: AnswerJournal, store: SqlTaskStore) -> bool:
    try:
        journal.replay(store)
    except DatabaseUnavailable:
        return False
    return True
