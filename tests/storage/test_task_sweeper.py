"""The sweep: tasks of dead workers fail, what has expired goes, and bodies stay within their bytes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text, update

from app.native_thread import NativeThreads
from app.objects.file_objects import FileObjects
from app.objects.store import ObjectStore
from app.storage.database import Database
from app.storage.task_store import SqlTaskStore
from app.storage.task_sweeper import TaskSweeper
from app.storage.task_tables import TASKS, WORKERS
from app.storage.times import now
from app.tasks.body import AnswerMissing
from app.tasks.task import BodyTooLarge, Task
from tests.support.databases import on_every_store
from tests.support.task_stores import (
    ANSWER,
    CALLER,
    DIGEST,
    LARGE,
    LARGE_ANSWER,
    ago,
    body_names,
    content,
    expire,
    new_attendant,
    new_task,
    open_executor,
    open_objects,
    open_task_store,
    silence,
    stored,
)

OpenStore = Callable[[int], SqlTaskStore]

pytestmark = on_every_store


@pytest.fixture
def objects(database: Database, tmp_path: Path) -> ObjectStore:
    return open_objects(database, tmp_path / "answers")


@pytest.fixture
def open_store(database: Database, objects: ObjectStore) -> OpenStore:
    """The store with that many bytes for bodies."""
    return lambda max_bytes: open_task_store(database, objects, max_bytes)


@pytest.fixture
def store(open_store: OpenStore) -> SqlTaskStore:
    return open_store(2**30)


def new_sweeper(database: Database, objects: ObjectStore) -> TaskSweeper:
    keep = timedelta(hours=1)
    return TaskSweeper(open_executor(database), objects, keep=keep, max_bytes=2**30, max_task_seconds=3600)


def begun(store: SqlTaskStore, task: Task, *, sent: bool = False) -> Task:
    assert store.begin(task, new_attendant()) is None
    if sent:
        assert store.start(task.id)
    return task


def test_a_sent_task_of_a_dead_worker_keeps_its_key(store: SqlTaskStore, database: Database) -> None:
    task = begun(store, new_task("k"), sent=True)
    silence(database)
    store.sweep()
    found = stored(store, task)
    assert (found.state, found.http_status, found.code) == ("failed", 502, "outcome_unknown")
    assert store.begin(new_task("k"), None) == found
    store.finish(task, LARGE_ANSWER, keep=True)  # it was alive after all
    assert (stored(store, task).state, content(store, task)) == ("completed", b"".join(LARGE))
    assert store.begin(new_task("k"), None) == stored(store, task)


def test_a_queued_task_of_a_dead_worker_is_not_sent_any_more(store: SqlTaskStore, database: Database) -> None:
    keyed, plain = begun(store, new_task("k")), begun(store, new_task())
    silence(database)
    store.sweep()
    for task in (keyed, plain):
        found = stored(store, task)
        assert (found.state, found.http_status, found.code) == ("failed", 503, "not_started")
        assert not store.start(task.id)
    # Nothing was drawn: whoever tries again makes a new call.
    assert store.begin(new_task("k"), None) is None
    assert store.claim(CALLER, DIGEST, 2, new_attendant()) is None


def test_a_worker_that_sweeps_is_alive_however_late_its_beat(store: SqlTaskStore, database: Database) -> None:
    task = begun(store, new_task(), sent=True)
    with database.connection() as connection:
        connection.execute(update(WORKERS).values(seen_at=ago(60)))
    store.sweep()
    assert stored(store, task).is_running


@pytest.mark.parametrize("seconds", [0, 900])
def test_a_worker_that_has_beaten_of_late_is_alive(
    store: SqlTaskStore, database: Database, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    monkeypatch.setattr("app.storage.task_statements.DEAD_SECONDS", 1000)
    task = begun(store, new_task())
    silence(database, seconds)
    store.sweep()
    assert stored(store, task).state == "queued"
    assert store.start(task.id)


def test_a_task_that_lasts_longer_than_any_has_failed(store: SqlTaskStore) -> None:
    lost, going = (begun(store, new_task(age=age), sent=True) for age in (3601, 3500))
    store.sweep()
    assert [stored(store, task).state for task in (lost, going)] == ["failed", "in_progress"]


def test_expired_tasks_go_with_their_bodies(store: SqlTaskStore, database: Database, objects: ObjectStore) -> None:
    gone, kept = new_task(), new_task()
    for task in (gone, kept):
        store.finish(task, LARGE_ANSWER, keep=True)
    expire(database, gone)
    store.sweep()
    assert store.attend(gone.id, new_attendant()) is None
    assert content(store, kept) == b"".join(LARGE)
    assert [info.name for info in objects.entries()] == body_names(database) != []


def test_the_oldest_bodies_make_room_and_their_keys_stay_used(open_store: OpenStore, objects: ObjectStore) -> None:
    store = open_store(2 * len(LARGE) + len(ANSWER.body))
    tasks = [new_task(f"k{age}", age=age) for age in (40, 30, 20, 10)]
    for task, answer in zip(tasks, (ANSWER, LARGE_ANSWER, LARGE_ANSWER, LARGE_ANSWER), strict=True):
        begun(store, task)
        store.finish(task, answer, keep=True)
    for task in tasks[:2]:
        with pytest.raises(AnswerMissing):
            store.body(task.id)
        assert store.begin(new_task(task.idempotency_key), None) == stored(store, task)
    assert [content(store, task) for task in tasks[2:]] == [b"".join(LARGE)] * 2
    assert len(list(objects.entries())) == 2


def test_the_sweep_keeps_a_lower_bound_too(store: SqlTaskStore, open_store: OpenStore) -> None:
    tasks = [new_task(age=number) for number in range(5)]
    for task in tasks:
        store.finish(task, ANSWER, keep=True)
    open_store(2 * len(ANSWER.body)).sweep()
    assert [bool(_has_body(store, task)) for task in tasks] == [True, True, False, False, False]


def test_a_body_larger_than_the_bound_removes_no_other(open_store: OpenStore, objects: ObjectStore) -> None:
    store = open_store(len(LARGE) - 1)
    small, large = new_task(), begun(store, new_task("k"), sent=True)
    store.finish(small, ANSWER, keep=True)
    with pytest.raises(BodyTooLarge):
        store.finish(large, LARGE_ANSWER, keep=True)
    assert _has_body(store, small)
    assert stored(store, large).state == "in_progress"
    assert list(objects.entries()) == []


def test_an_object_that_no_row_names_is_removed_once_it_is_old(
    store: SqlTaskStore, database: Database, objects: ObjectStore
) -> None:
    task = new_task()
    store.finish(task, LARGE_ANSWER, keep=True)
    objects.write("orphan", [b"1"], 1)
    sweeper = new_sweeper(database, objects)
    sweeper.remove_orphans(60)
    assert len(list(objects.entries())) == 2
    sweeper.remove_orphans(-60)
    assert [info.name for info in objects.entries()] == body_names(database)
    assert content(store, task) == b"".join(LARGE)


def test_a_body_that_cannot_be_removed_is_left_to_a_later_sweep(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    store = open_task_store(database, FileObjects(folder, NativeThreads(0)))
    task = new_task()
    store.finish(task, LARGE_ANSWER, keep=True)
    expire(database, task)
    folder.rename(tmp_path / "not-mounted")
    store.sweep()
    assert "Body of an answer not removed" in caplog.text
    assert store.attend(task.id, new_attendant()) is None


def test_the_size_of_all_bodies_is_read_without_the_bodies(database: Database) -> None:
    """SQLite reads a whole row to get at its last column, up to 64 KiB: an index has the sizes alone."""
    if database.engine.dialect.name == "postgresql":
        return  # keeps large values apart from their rows
    with database.connection(read_only=True) as connection:
        plan = connection.execute(text("EXPLAIN QUERY PLAN SELECT coalesce(sum(body_size), 0) FROM tasks")).all()
    assert "COVERING INDEX ix_tasks_body_size" in str(plan)


def test_a_row_that_expires_later_is_not_removed(store: SqlTaskStore, database: Database) -> None:
    task = new_task()
    store.finish(task, ANSWER, keep=True)
    with database.connection() as connection:
        connection.execute(update(TASKS).values(expires_at=now() + timedelta(seconds=30)))
    store.sweep()
    assert _has_body(store, task)


def _has_body(store: SqlTaskStore, task: Task) -> bool:
    try:
        return bool(b"".join(store.body(task.id)))
    except AnswerMissing:
        return False
