"""Both databases, each with the schema in it: a SQLite file, and one of a PostgreSQL server's."""

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

from app.storage.database import Database, alembic_config
from tests.support.postgres_server import BIN, PostgresServer

KINDS = ("sqlite", "postgresql")


class ScratchDatabase(Protocol):
    """One database of its own for one test."""

    url: str

    def outage(self) -> contextlib.AbstractContextManager[None]:
        """As long as it lasts, nothing can be written there."""
        ...


class ScratchSqlite:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Somebody else writes, and does not end it."""
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
        """kill -9, and up again."""
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
    """One server for this test process, with a database `migrated` to make others from."""
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
    """Of the kind that `request` has for its parameter; `template` is PostgreSQL's."""
    tmp_path: Path = request.getfixturevalue("tmp_path")
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
    """A new database with the schema in it; the test runs on both kinds."""
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
