"""Migrations: up, down and up again with data, equal to the tables, and checked at the start."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import event, inspect, text

from app.storage.api_keys import ApiKeyStore
from app.storage.database import Database, SchemaOutdated, alembic_config
from app.storage.ledger import Ledger
from app.storage.postgresql_objects import PostgresqlObjects
from app.storage.reservations import Reservation, Settlement
from app.storage.tables import Base
from app.storage.usage import UsageStore
from tests.storage.test_journal import usage_row
from tests.support.databases import ScratchDatabase
from tests.support.processes import HOST, ROOT, environment, free_port
from tests.support.task_stores import new_task, open_task_store


class Schema:
    def __init__(self, url: str) -> None:
        self.database = Database(url)
        self.config: Config = alembic_config(self.database.engine)

    def fill(self) -> None:
        """A row in every table."""
        keys, ledger = ApiKeyStore(self.database), Ledger(self.database)
        keys.create("key", balance=100)
        key_id, reservation_id = keys.get("key").id, uuid.uuid4().hex
        ledger.reserve(Reservation(reservation_id, key_id, "r", "o", images=1, price=10))
        ledger.close_reservation(Settlement(reservation_id, "settle", 1))
        UsageStore(self.database).add(usage_row(key_id))
        objects = PostgresqlObjects(self.database)  # its table is in every database
        open_task_store(self.database, objects).begin(new_task("k"), None)
        objects.write("a", [b"1"], 1)
        assert all(self.counts().values())

    def counts(self) -> dict[str, Any]:
        with self.database.connection(read_only=True) as connection:
            tables = [name for name in inspect(connection).get_table_names() if name != "alembic_version"]
            return {name: connection.scalar(text(f"SELECT count(*) FROM {name}")) for name in tables}

    def lines(self, *columns: str) -> list[tuple[Any, ...]]:
        with self.database.connection(read_only=True) as connection:
            chosen = text(f"SELECT kind, {', '.join(columns)} FROM ledger ORDER BY id")
            return [tuple(row) for row in connection.execute(chosen)]


@contextmanager
def open_schema(url: str) -> Iterator[Schema]:
    schema = Schema(url)
    try:
        yield schema
    finally:
        schema.database.engine.dispose()


@pytest.fixture
def schema(test_db: ScratchDatabase) -> Iterator[Schema]:
    """Of a database with every migration applied."""
    with open_schema(test_db.url) as schema:
        yield schema


@pytest.fixture
def empty_schema(empty_db: ScratchDatabase) -> Iterator[Schema]:
    with open_schema(empty_db.url) as schema:
        yield schema


def test_an_upgrade_is_one_transaction(empty_schema: Schema) -> None:
    """Another machine that upgrades at the same time waits for all of it."""
    commits: list[None] = []
    event.listen(empty_schema.database.engine, "commit", lambda _connection: commits.append(None))
    command.upgrade(empty_schema.config, "head")
    assert len(commits) == 1


def test_up_down_and_up_with_data_in_it(empty_schema: Schema) -> None:
    """Step by step, so that each migration runs on the data of those before it."""
    command.upgrade(empty_schema.config, "head")
    assert set(empty_schema.counts()) == set(Base.metadata.tables)
    for _ in range(2):
        empty_schema.fill()
        for _ in ScriptDirectory.from_config(empty_schema.config).walk_revisions():
            command.downgrade(empty_schema.config, "-1")
        assert empty_schema.counts() == {}
        for _ in ScriptDirectory.from_config(empty_schema.config).walk_revisions():
            command.upgrade(empty_schema.config, "+1")
        empty_schema.database.check_schema()


def test_credit_note_is_moved_to_its_own_column_and_back(schema: Schema) -> None:
    schema.fill()
    with schema.database.connection() as connection:
        connection.execute(text("UPDATE ledger SET note = 'invoice 7' WHERE kind = 'credit'"))
    command.downgrade(schema.config, "0001")
    assert schema.lines("request_id") == [("credit", "invoice 7"), ("reserve", "r"), ("settle", "r")]
    command.upgrade(schema.config, "0002")
    after = [("credit", "", "invoice 7"), ("reserve", "r", ""), ("settle", "r", "")]
    assert schema.lines("request_id", "note") == after


def test_response_format_of_a_key_is_added_and_removed(schema: Schema) -> None:
    schema.fill()
    ApiKeyStore(schema.database).update("key", response_format="b64_json", requests_per_minute=5)
    columns = "SELECT name, balance, requests_per_minute"
    command.downgrade(schema.config, "0002")
    with schema.database.connection(read_only=True) as connection:
        assert connection.execute(text(f"{columns} FROM api_keys")).all() == [("key", 90, 5)]
    command.upgrade(schema.config, "0003")
    with schema.database.connection(read_only=True) as connection:
        assert connection.execute(text(f"{columns}, response_format FROM api_keys")).all() == [("key", 90, 5, None)]
    assert Ledger(schema.database).check() == []


def test_upgrading_again_changes_nothing(schema: Schema) -> None:
    schema.fill()
    before = schema.counts()
    command.upgrade(schema.config, "head")
    assert schema.counts() == before


def test_schema_and_tables_have_not_drifted_apart(schema: Schema) -> None:
    """alembic raises if it would generate a migration."""
    command.check(schema.config)


@pytest.mark.parametrize("state", ["missing", "of another version"])
def test_wrong_schema_is_an_error_that_names_the_remedy(
    empty_db: ScratchDatabase, empty_schema: Schema, state: str
) -> None:
    if state != "missing":
        command.upgrade(empty_schema.config, "head")
        with empty_schema.database.connection() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = 'of another version'"))
    with pytest.raises(SchemaOutdated, match=f"schema is {state}. Run: flask --app wsgi db upgrade"):
        empty_schema.database.check_schema()
    ended = start_gunicorn(empty_db.url)
    assert ended.returncode == 1
    keys, first, line = ended.stdout.splitlines()
    assert "Starting gunicorn" in first
    assert "Upstream keys" in keys
    assert line == (f"The gateway cannot start: the database's schema is {state}. Run: flask --app wsgi db upgrade")


def test_unreachable_database_is_an_error_without_the_password(tmp_path: Path) -> None:
    ended = start_gunicorn(f"postgresql://user:hunter2@{HOST}:{free_port()}/amux")
    assert ended.returncode == 1
    assert "no answer from DATABASE_URL" in ended.stdout
    assert "hunter2" not in ended.stdout
    assert "Traceback" not in ended.stdout


def start_gunicorn(url: str) -> subprocess.CompletedProcess[str]:
    """Start gunicorn with a database that ends the start."""
    return subprocess.run(
        [Path(sys.executable).with_name("gunicorn"), "wsgi:app"],
        cwd=ROOT,
        env=environment(
            DATABASE_URL=url,
            AMUX_PRICES="MiniMax-Image-01=1",
            MINIMAX_API_KEY="key",
            HOST=HOST,
            PORT=str(free_port()),
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
