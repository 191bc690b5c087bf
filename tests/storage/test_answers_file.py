"""The file of answers of a gateway without a database: its tables, its version, its failures."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from app.components import create_task_store
from app.errors import DatabaseUnavailable
from app.settings import ConfigError, Settings
from app.storage.answers_file import AnswersFile
from app.storage.database import Database
from app.storage.tables import Base
from app.storage.task_schema import VERSION
from app.storage.task_tables import TASKS, WORKERS
from tests.support.settings import unpaced
from tests.support.task_stores import ANSWER, LARGE_ANSWER, new_task, open_objects, open_task_store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "answers.db"


def run(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(sql).fetchall()


def count(path: Path) -> object:
    return run(path, "SELECT count(*) FROM tasks")[0][0]


def add_task(path: Path) -> None:
    database = Database(f"sqlite:///{path}")
    store = open_task_store(database, open_objects(database, path.with_name("answers")))
    store.finish(new_task(), ANSWER, keep=True)


def test_its_tables_are_those_of_a_database(path: Path, tmp_path: Path) -> None:
    AnswersFile(path).create()
    other = tmp_path / "other.db"
    database = Database(f"sqlite:///{other}")
    with database.connection() as connection:
        Base.metadata.create_all(connection, [TASKS, WORKERS])
    database.engine.dispose()
    for table in ("tasks", "task_workers"):
        columns = f"SELECT name, type, [notnull], pk FROM pragma_table_info('{table}')"
        indexes = f"SELECT name, [unique] FROM pragma_index_list('{table}') WHERE origin = 'c' ORDER BY name"
        assert sorted(run(path, columns)) == sorted(run(other, columns))
        assert run(path, indexes) == run(other, indexes)


@pytest.mark.parametrize(("version", "kept"), [(0, 1), (VERSION, 1), (VERSION + 1, 0)], ids=["old", "same", "newer"])
def test_a_file_of_another_version_is_made_anew(
    path: Path, caplog: pytest.LogCaptureFixture, version: int, kept: int
) -> None:
    """The release before versions had the same tables: its answers are kept."""
    AnswersFile(path).create()
    add_task(path)
    run(path, f"PRAGMA user_version={version}")
    AnswersFile(path).create()
    assert count(path) == kept
    assert run(path, "PRAGMA user_version") == [(VERSION,)]
    assert ("of another version" in caplog.text) == (not kept)


def test_a_transaction_that_fails_is_rolled_back(path: Path) -> None:
    file = AnswersFile(path)
    file.create()
    insert = "INSERT INTO task_workers (id, seen_at) VALUES (:id, :id)"
    with pytest.raises(sqlite3.IntegrityError):
        file.write(lambda execute: [execute(insert, {"id": "a"}) for _ in range(2)])
    assert file.read("SELECT id FROM task_workers", {}) == []
    file.write(lambda execute: execute(insert, {"id": "a"}))
    assert [row["id"] for row in file.read("SELECT id FROM task_workers", {})] == ["a"]
    file.close()


def test_a_file_that_is_no_database_is_unavailable(path: Path) -> None:
    path.write_bytes(b"x" * 5000)
    with pytest.raises(DatabaseUnavailable):
        AnswersFile(path).create()


def test_large_bodies_are_beside_it(path: Path) -> None:
    AnswersFile(path).create()
    database = Database(f"sqlite:///{path}")
    objects = open_objects(database, path.with_name("answers"))
    open_task_store(database, objects).finish(new_task(), LARGE_ANSWER, keep=True)
    assert run(path, "SELECT body FROM tasks") == [(None,)]
    assert len(list(objects.entries())) == 1


def test_a_damaged_file_ends_the_start(tmp_path: Path) -> None:
    """The message names the file. To make it anew would forget which idempotency keys were used."""
    file = tmp_path / "answers.db"
    file.write_bytes(b"no database" * 100)
    with pytest.raises(ConfigError, match=rf"{file} cannot be used \(file is not a database\)\."):
        create_task_store(Settings(**unpaced() | {"state_folder": str(tmp_path)}), None)
    assert file.read_bytes().startswith(b"no database")
