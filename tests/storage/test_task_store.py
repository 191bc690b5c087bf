"""The store of answers: who begins, joins, leaves and takes a task, on both databases."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.objects.store import ObjectStore
from app.storage.database import Database
from app.storage.task_store import REJOIN_SECONDS, SqlTaskStore
from app.tasks.body import AnswerMissing
from app.tasks.task import JOIN_SECONDS, Task
from tests.support.databases import ScratchDatabase, on_every_store
from tests.support.processes import ROOT
from tests.support.task_stores import (
    ANSWER,
    CALLER,
    DIGEST,
    LARGE,
    LARGE_ANSWER,
    REFUSAL,
    SMALL,
    body_names,
    content,
    end_earlier,
    expire,
    new_attendant,
    new_task,
    open_objects,
    open_task_store,
    silence,
    stored,
)

pytestmark = on_every_store


@pytest.fixture
def objects(database: Database, tmp_path: Path) -> ObjectStore:
    return open_objects(database, tmp_path / "answers")


@pytest.fixture
def store(database: Database, objects: ObjectStore) -> SqlTaskStore:
    return open_task_store(database, objects)


def running(store: SqlTaskStore, *, attended: bool = True, **fields: Any) -> Task:
    """A task that is in the store; `fields` are those of `new_task`."""
    task = new_task(**fields)
    assert store.begin(task, new_attendant() if attended else None) is None
    return task


def claim(store: SqlTaskStore, retry_count: int = 1, attendant: str | None = None) -> str | None:
    task = store.claim(CALLER, DIGEST, retry_count, attendant or new_attendant())
    return task.id if task else None


# Idempotency keys


def test_a_key_has_one_task(store: SqlTaskStore) -> None:
    first = running(store, key="k")
    assert store.begin(new_task("k"), None) == first
    assert store.begin(new_task("k", caller="another"), None) is None
    assert store.begin(new_task("l"), None) is None


def test_tasks_that_begin_at_once_with_one_key_are_one(test_db: ScratchDatabase, tmp_path: Path) -> None:
    """Half of them in a store of their own, as another process has it."""
    databases = [Database(test_db.url) for _ in range(2)]
    stores = [open_task_store(database, open_objects(database, tmp_path / "answers")) for database in databases]
    tasks = [new_task("k") for _ in range(16)]
    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(lambda i: stores[i % 2].begin(tasks[i], None), range(16)))
    [added] = [task.id for task, existing in zip(tasks, found, strict=True) if existing is None]
    assert {existing.id for existing in found if existing} == {added}
    for database in databases:
        database.engine.dispose()


def test_an_expired_key_is_free_before_the_sweep(store: SqlTaskStore, database: Database, objects: ObjectStore) -> None:
    old, keyless = running(store, key="k"), running(store)
    for task in (old, keyless):
        store.finish(task, LARGE_ANSWER, keep=True)
        expire(database, task)
    assert store.begin(new_task("k"), None) is None
    assert store.begin(new_task(), None) is None
    assert store.find(CALLER, old.id) is None
    # What has no key is left to the sweep.
    assert [info.name for info in objects.entries()] == body_names(database) != []


def test_an_answer_that_is_not_kept_frees_its_key(store: SqlTaskStore) -> None:
    task = running(store, key="k")
    store.finish(task, REFUSAL, keep=False)
    assert store.find(CALLER, task.id) is None
    assert store.begin(new_task("k"), None) is None


def test_those_who_wait_read_an_answer_that_is_not_kept(store: SqlTaskStore) -> None:
    task = running(store, key="k")
    assert store.attend(task.id, new_attendant())
    store.finish(task, REFUSAL, keep=False)
    assert store.begin(new_task("k"), None) is None
    found = stored(store, task)
    assert (found.state, found.http_status, found.code) == ("failed", 429, REFUSAL.code)
    assert content(store, task) == b"".join(REFUSAL.body)


# Retries


def test_a_retry_joins_a_left_call_before_an_attended_one(store: SqlTaskStore) -> None:
    left_old, left_new = (running(store, attended=False, age=age) for age in (30, 20))
    attended_old, attended_new = (running(store, age=age) for age in (10, 5))
    order = [left_new.id, left_old.id, attended_new.id, attended_old.id, None]
    assert [claim(store) for _ in order] == order


def test_a_second_retry_joins_what_the_first_has_joined(store: SqlTaskStore) -> None:
    task, first = running(store), new_attendant()
    assert [claim(store, 1, first), claim(store, 1), claim(store, 2), claim(store, 2)] == [task.id, None, task.id, None]
    store.leave(task.id, first)  # not its attendant any more
    assert claim(store) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"age": JOIN_SECONDS + 1},
        {"caller": "another"},
        {"request_digest": "e" * 64},
        {"key": "k"},
        {"is_async": True},
    ],
    ids=["old", "caller", "request", "keyed", "async"],
)
def test_what_no_retry_joins(store: SqlTaskStore, fields: dict[str, Any]) -> None:
    running(store, attended=False, **fields)
    assert claim(store) is None


def test_an_answer_that_was_left_is_joined_and_one_that_was_taken_is_not(store: SqlTaskStore) -> None:
    task, attendant = running(store, attended=False), new_attendant()
    store.finish(task, ANSWER, keep=True)
    assert claim(store, 1, attendant) == task.id
    store.take(task.id, attendant)
    assert claim(store) is None


def test_a_second_retry_joins_for_some_seconds_what_the_first_seems_to_have_taken(
    store: SqlTaskStore, database: Database
) -> None:
    """A router that has given up may take the answer on the connection that it left open."""
    task, first = running(store, attended=False), new_attendant()
    assert claim(store, 1, first) == task.id
    store.finish(task, ANSWER, keep=True)
    store.take(task.id, first)
    assert [claim(store, 1), claim(store, 2)] == [None, task.id]
    end_earlier(database, task, REJOIN_SECONDS)
    assert claim(store, 3) is None


def test_a_retry_does_not_join_a_call_whose_body_was_removed(database: Database, objects: ObjectStore) -> None:
    """It has no key by which it could be told that the answer has expired."""
    store = open_task_store(database, objects, max_bytes=2 * len(LARGE) - 1)
    removed, newer = running(store, attended=False), running(store, attended=False)
    for task in (removed, newer):
        store.finish(task, LARGE_ANSWER, keep=True)
    assert [claim(store), claim(store)] == [newer.id, None]


def test_a_retry_does_not_join_an_answer_that_is_not_kept(store: SqlTaskStore) -> None:
    """A retry that waited gets the refusal; its SDK's next one is a new call, which may work."""
    task, attendant = running(store), new_attendant()
    assert claim(store, 1, attendant) == task.id
    store.finish(task, REFUSAL, keep=False)
    assert stored(store, task).http_status == 429
    store.take(task.id, attendant)
    assert claim(store, 2) is None


def test_connections_of_a_dead_worker_attend_nothing(store: SqlTaskStore, database: Database) -> None:
    older, newer = running(store, age=5), running(store, attended=False, age=10)
    silence(database)
    assert [claim(store), claim(store), claim(store)] == [older.id, newer.id, None]


def test_claims_at_once_get_different_tasks(test_db: ScratchDatabase, tmp_path: Path) -> None:
    databases = [Database(test_db.url) for _ in range(2)]
    stores = [open_task_store(database, open_objects(database, tmp_path / "answers")) for database in databases]
    tasks = [running(stores[0], attended=False) for _ in range(6)]
    with ThreadPoolExecutor(8) as threads:
        claimed = [found for found in threads.map(lambda i: claim(stores[i % 2]), range(8)) if found]
    # PostgreSQL skips a row that another transaction has locked, which is then joined by that one.
    assert len(set(claimed)) == len(claimed) >= 2
    assert set(claimed) <= {task.id for task in tasks}
    for database in databases:
        database.engine.dispose()


# One task's life


def test_only_a_queued_task_is_started(store: SqlTaskStore) -> None:
    task = running(store)
    assert store.start(task.id)
    assert stored(store, task).state == "in_progress"
    assert not store.start(task.id)
    assert not store.start("unknown")


def test_only_a_queued_task_that_nobody_attends_is_withdrawn(store: SqlTaskStore) -> None:
    attendant, sent = new_attendant(), running(store, attended=False)
    store.start(sent.id)
    task = new_task()
    store.begin(task, attendant)
    assert [store.withdraw(sent.id), store.withdraw(task.id)] == [False, False]
    store.leave(task.id, "another")
    assert not store.withdraw(task.id)
    store.leave(task.id, attendant)
    assert store.withdraw(task.id)
    assert store.find(CALLER, task.id) is None


def test_a_call_that_was_joined_is_not_discarded(store: SqlTaskStore) -> None:
    alone, joined = running(store), running(store)
    assert store.attend(joined.id, new_attendant())
    assert [store.discard(alone.id), store.discard(joined.id)] == [True, False]
    assert store.attend(alone.id, new_attendant()) is None


def test_calls_are_registered_once(store: SqlTaskStore) -> None:
    tasks = [new_task(), replace(new_task(), state="in_progress")]
    for _ in range(2):
        store.register([(task, new_attendant()) for task in tasks])
    assert [stored(store, task).state for task in tasks] == ["queued", "in_progress"]
    assert {claim(store), claim(store)} == {task.id for task in tasks}


@pytest.mark.parametrize(("answer", "objects_left"), [(ANSWER, 0), (LARGE_ANSWER, 1)], ids=["small", "large"])
def test_an_answer_is_read_as_it_was_written(
    store: SqlTaskStore, objects: ObjectStore, answer: Any, objects_left: int
) -> None:
    """Also that of a task which was not added before."""
    task = new_task()
    store.finish(task, answer, keep=True)
    found = stored(store, task)
    assert (found.state, found.http_status, found.code, found.headers) == ("completed", 200, None, answer.headers)
    body = store.body(task.id)
    assert (len(body), b"".join(body)) == (len(answer.body), b"".join(answer.body))
    assert len(list(objects.entries())) == objects_left
    assert store.discard(task.id)
    assert list(objects.entries()) == []


def test_a_body_that_is_gone_is_missing_and_its_key_is_not_free(store: SqlTaskStore, objects: ObjectStore) -> None:
    task = running(store, key="k")
    store.finish(task, LARGE_ANSWER, keep=True)
    [info] = objects.entries()
    objects.delete(info.name)
    with pytest.raises(AnswerMissing):
        store.body(task.id)
    assert store.begin(new_task("k"), None) == stored(store, task)


def test_only_its_caller_finds_a_task(store: SqlTaskStore) -> None:
    tasks = [running(store, age=age) for age in (3, 2, 1)]
    assert store.find("another", tasks[0].id) is None
    assert [task.id for task in store.newest(CALLER, 2)] == [tasks[2].id, tasks[1].id]
    assert store.newest("another", 2) == []


def test_ended_are_those_with_an_answer_and_those_that_are_gone(store: SqlTaskStore) -> None:
    ended, going = running(store), running(store)
    store.finish(ended, ANSWER, keep=True)
    many = [f"gone-{number}" for number in range(1200)]  # more than one query takes
    assert store.ended([*many, going.id, ended.id]) == [*many, ended.id]


KILLED = """
import os, signal, sys
from pathlib import Path
from app.storage.database import Database
from app.tasks.task import Answer
from tests.support.task_stores import LARGE, new_task, open_objects, open_task_store
url, folder, when = sys.argv[1:]
database = Database(url)

def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)

class Body:
    def __len__(self):
        return len(LARGE)
    def __iter__(self):
        data = b"".join(LARGE)
        yield data[:1000]
        if when == "in the body":
            kill()
        yield data[1000:]

store = open_task_store(database, open_objects(database, Path(folder)))
task = new_task("k", id="a" * 32)
store.begin(task, None)
store.start(task.id)
if when == "before the commit":
    write = store._executor.write
    def write_and_kill(statements):
        write(lambda run: (statements(run), kill()))
    store._executor.write = write_and_kill
store.finish(task, Answer(200, Body(), {}), keep=True)
if when == "after the commit":
    kill()
"""


@pytest.mark.parametrize("when", ["in the body", "before the commit", "after the commit"])
def test_a_killed_process_leaves_the_whole_answer_or_none(
    store: SqlTaskStore, database: Database, test_db: ScratchDatabase, tmp_path: Path, when: str
) -> None:
    command = [sys.executable, "-c", KILLED, test_db.url, str(tmp_path / "answers"), when]
    assert subprocess.run(command, cwd=ROOT).returncode == -9
    task = new_task("k", id="a" * 32)
    silence(database)
    store.sweep()
    found = stored(store, task)
    if when == "after the commit":
        assert (found.state, content(store, task)) == ("completed", b"".join(LARGE))
        return
    assert (found.state, found.http_status, found.code) == ("failed", 502, "outcome_unknown")
    assert b"outcome_unknown" in content(store, task)
    assert store.begin(new_task("k"), None) == found
    store.finish(task, ANSWER, keep=True)  # the store goes on
    assert content(store, task) == b"".join(SMALL)
