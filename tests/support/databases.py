"""Test databases with the schema: a SQLite file, and a database of a PostgreSQL server."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pytest
from alembic import command

from app.storage.answers_file import AnswersFile
from app.storage.database import Database, alembic_config
from tests.support.postgres_server import BIN, PostgresServer

KINDS = ("sqlite", "postgresql")
# For tests of the store of answers: also the file of a gateway without a database.
on_every_store = pytest.mark.parametrize("test_db", [*KINDS, "answers.db"], indirect=True)


class ScratchDatabase(Protocol):
    """A database for one test."""

    url: str

    def outage(self) -> contextlib.AbstractContextManager[None]:
        """While the context lasts, nothing can be written."""
        ...


class ScratchSqlite:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Another connection holds the write lock."""
        with contextlib.closing(sqlite3.connect(self.path, isolation_level=None, timeout=60)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")


class ScratchPostgres:
    def __init__(self, server: PostgresServer, name: str) -> None:
        self.server = server
        self.url = server.url(name)

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Kill the server, and start it again at the end."""
        self.server.kill()
        try:
            yield
        finally:
            self.server.start()


def migrate(url: str) -> None:
    database = Database(url)
    command.upgrade(alembic_config(database.engine), "head")
    database.engine.dispose()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for this test process. Its database `migrated` is the template of others."""
    if BIN is None:
        pytest.skip("PostgreSQL is missing: run scripts/install-test-tools")
    server = PostgresServer()
    try:
        server.start()
        server.create("migrated")
        migrate(server.url("migrated"))
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "amux.db"
    migrate(f"sqlite:///{path}")
    return path


@contextmanager
def new_test_db(request: pytest.FixtureRequest, *, template: str) -> Iterator[ScratchDatabase]:
    """A database of the kind in `request.param`. `template` is `migrated` or, for one without a schema, `template1`."""
    tmp_path: Path = request.getfixturevalue("tmp_path")
    if request.param == "answers.db":
        path = tmp_path / "answers.db"
        AnswersFile(path).create()
        yield ScratchSqlite(path)
        return
    if request.param == "sqlite":
        path = tmp_path / "amux.db"
        if template == "migrated":
            shutil.copy(request.getfixturevalue("migrated_sqlite"), path)
        else:
            path.touch()
        yield ScratchSqlite(path)
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    name = uuid.uuid4().hex
    server.create(name, template=template)
    yield ScratchPostgres(server, name)
    server.drop(name)


@pytest.fixture(params=KINDS)
def test_db(request: pytest.FixtureRequest) -> Iterator[ScratchDatabase]:
    """A new database with the schema. The test runs on both kinds."""
    with new_test_db(request, template="migrated") as test_db:
        yield test_db


@pytest.fixture(params=KINDS)
def empty_db(request: pytest.FixtureRequest) -> Iterator[ScratchDatabase]:
    with new_test_db(request, template="template1") as test_db:
        yield test_db


@pytest.fixture
def database(test_db: ScratchDatabase) -> Iterator[Database]:
    database = Database(test_db.url)
    yield database
    database.engine.dispose()
