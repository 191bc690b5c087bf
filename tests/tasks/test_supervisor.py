"""The supervisor of a worker: it registers calls, wakes who waits, beats, and survives failures."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import select, update

from app.spooling.json_writer import JsonBody
from app.storage.database import Database
from app.storage.task_store import SqlTaskStore
from app.storage.task_tables import WORKERS
from app.tasks.supervisor import Supervisor
from app.tasks.task import TaskStore
from tests.support.task_stores import (
    ANSWER,
    CALLER,
    ago,
    new_attendant,
    new_call,
    new_task,
    park,
    stored,
    sweep_as_another,
)
from tests.support.waiting import WAIT_SECONDS, wait_until


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
        sweep_as_another(store)
        assert stored(store, call.task).is_running

    def test_a_worker_whose_journal_takes_long_beats(
        self, started: Supervisor, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As when the store of bodies does not respond."""
        replaying, released = threading.Event(), threading.Event()

        def replay(_store: TaskStore) -> None:
            replaying.set()
            released.wait()

        monkeypatch.setattr(started.maintenance._journal, "replay", replay)
        try:
            assert replaying.wait(WAIT_SECONDS)
            call = new_call(started=time.monotonic() - 60)
            started.add(call)
            wait_until(lambda: call.is_stored)
            with database.connection() as connection:
                connection.execute(update(WORKERS).values(seen_at=ago(9)))
            wait_until(lambda: seen_at(database) > ago(8))
        finally:
            released.set()

    def test_a_task_that_another_process_withdraws_waits_no_longer(
        self, store: SqlTaskStore, started: Supervisor
    ) -> None:
        call = new_call(is_async=True)
        store.begin(call.task, None)
        started.add(call)
        assert not call.cancellation.is_cancelled
        store.withdraw(call.id)
        wait_until(lambda: call.cancellation.is_cancelled)

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


def seen_at(database: Database) -> datetime:
    """When the only worker was alive."""
    with database.connection(read_only=True) as connection:
        seen: datetime = connection.execute(select(WORKERS.c.seen_at)).scalar_one()
        return seen
