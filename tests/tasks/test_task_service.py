"""How a call ends: its caller has taken the answer or has left, also while the store is unavailable."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

from app.errors import DatabaseUnavailable
from app.services.image_service import ImageService
from app.spooling.json_writer import JsonBody
from app.storage.task_store import SqlTaskStore
from app.tasks.answer_journal import AnswerJournal
from app.tasks.call import Call
from app.tasks.supervisor import Supervisor
from app.tasks.task_service import TaskService
from tests.support.databases import ScratchDatabase
from tests.support.task_stores import ANSWER, CALLER, new_attendant, new_call, runs, stored
from tests.support.waiting import WAIT_SECONDS, wait_until


@pytest.fixture
def tasks(store: SqlTaskStore, journal: AnswerJournal, supervisor: Supervisor) -> TaskService:
    """It makes no call: these have been made."""
    return TaskService(cast(ImageService, None), store, journal, supervisor, join_retries=True)


def answered_call() -> Call:
    call = new_call()
    call.body = JsonBody({})
    return call


@pytest.fixture
def registered(supervisor: Supervisor) -> Call:
    """An answered call that lasted so long that its row was written."""
    call = answered_call()
    assert supervisor.register([call])
    return call


def test_a_caller_that_leaves_during_an_outage_is_noted_after_it(
    tasks: TaskService, store: SqlTaskStore, registered: Call, test_db: ScratchDatabase
) -> None:
    """Else its SDK's retry would find a call that somebody waits for, and be drawn and charged anew."""
    with test_db.outage():
        tasks.leave(registered)
    wait_until(lambda: runs(tasks.supervisor.maintenance))
    store.finish(registered.task, ANSWER, keep=True)
    joined = store.claim(CALLER, registered.digest, 1, new_attendant())
    assert joined is not None
    assert joined.id == registered.id


def test_a_call_that_is_taken_during_an_outage_is_discarded_after_it(
    tasks: TaskService, store: SqlTaskStore, registered: Call, test_db: ScratchDatabase
) -> None:
    """Meanwhile its worker goes on beating, else another worker would fail it as unknown."""
    with test_db.outage():
        tasks.close(registered, taken=True)
        assert tasks.supervisor.maintenance.has_writes
    wait_until(lambda: runs(tasks.supervisor.maintenance))
    assert store.find(CALLER, registered.id) is None
    assert not tasks.supervisor.maintenance.has_writes


def test_a_retry_that_joins_meanwhile_gets_no_answer(
    tasks: TaskService, store: SqlTaskStore, registered: Call, test_db: ScratchDatabase
) -> None:
    with test_db.outage():
        tasks.close(registered, taken=True)
    wait_until(lambda: joins(store, registered.id))
    wait_until(lambda: runs(tasks.supervisor.maintenance))
    assert stored(store, registered.task).code == "outcome_unknown"


def joins(store: SqlTaskStore, task_id: str) -> bool:
    try:
        return store.attend(task_id, new_attendant()) is not None
    except DatabaseUnavailable:
        return False


def test_a_caller_that_leaves_with_its_answer_registers_nothing(
    tasks: TaskService, store: SqlTaskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It closes its connection as soon as it has the last byte, while the call is being closed."""
    call = answered_call()
    registering, released = threading.Event(), threading.Event()
    register = store.register

    def register_slowly(*arguments: Any) -> None:
        registering.set()
        assert released.wait(WAIT_SECONDS)
        register(*arguments)

    monkeypatch.setattr(store, "register", register_slowly)
    with ThreadPoolExecutor(2) as pool:
        left = pool.submit(tasks.leave, call)
        assert registering.wait(WAIT_SECONDS)
        closed = pool.submit(tasks.close, call, taken=True)
        time.sleep(0.1)  # until it waits for the registration, or, wrongly, is past it
        released.set()
        left.result(), closed.result()
    assert store.find(CALLER, call.id) is None
