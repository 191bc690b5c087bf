"""`db …`, and the errors of every command without a usable database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.storage.api_keys import ApiKeyStore
from app.storage.database import CommitOutcomeUnknown, Database
from app.storage.ledger import Ledger
from tests.commands.conftest import Operator, failure, operator_of, printed
from tests.support.databases import ScratchDatabase, ScratchSqlite

COMMANDS = [
    ("db", "check"),
    ("keys", "create", "--name", "harbour"),
    ("keys", "list"),
    ("keys", "show", "harbour"),
    ("keys", "update", "harbour", "--rpm", "1"),
    ("keys", "revoke", "harbour"),
    ("keys", "credit", "harbour", "1"),
    ("keys", "usage", "harbour"),
    ("usage", "--key", "harbour"),
    ("ledger", "list"),
    ("ledger", "check"),
    ("ledger", "sweep"),
]
every_command = pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)


def test_upgrade_creates_the_schema_and_may_be_repeated(empty_db: ScratchDatabase, tmp_path: Path) -> None:
    operator = operator_of(empty_db.url, tmp_path)
    for _ in range(2):
        assert printed(operator("db", "upgrade")) == "The database's schema is up to date.\n"
        operator("keys", "create", "--name", "harbour")
    assert printed(operator("db", "check")) == "The database's schema is up to date.\n"
    database = Database(empty_db.url)
    assert [key.name for key in ApiKeyStore(database).all()] == ["harbour"]
    database.engine.dispose()


@every_command
def test_missing_schema_is_one_line_that_names_the_remedy(
    empty_db: ScratchDatabase, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    said = failure(operator_of(empty_db.url, tmp_path)(*arguments))
    assert said == "The database's schema is missing. Run: flask --app wsgi db upgrade"


@every_command
def test_missing_sqlite_file_is_not_created(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """In another folder, a relative path is another file."""
    file = tmp_path / "amux.db"
    said = failure(operator_of(f"sqlite:///{file}", tmp_path)(*arguments))
    assert said == f"There is no database {file}. Run: flask --app wsgi db upgrade"
    assert not file.exists()


@every_command
def test_command_without_a_database_url_is_an_error(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    said = failure(operator_of(None, tmp_path)(*arguments))
    assert said == "DATABASE_URL must be set: keys, the ledger and usage are in there."


def test_upgrade_without_a_database_url_succeeds(tmp_path: Path) -> None:
    said = printed(operator_of(None, tmp_path)("db", "upgrade"))
    assert said == "DATABASE_URL is not set: there is no database to upgrade.\n"


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////nowhere/amux.db",
        "postgresql://amux:secretly@127.0.0.1:1/amux",
        "postgresql:///amux?host=/nowhere",
    ],
)
@pytest.mark.parametrize("arguments", [("db", "upgrade"), ("keys", "list")], ids=" ".join)
def test_unreachable_database_is_one_line_without_the_password(
    tmp_path: Path, url: str, arguments: tuple[str, ...]
) -> None:
    assert "secretly" not in failure(operator_of(url, tmp_path)(*arguments))


@pytest.mark.parametrize("test_db", ["sqlite"], indirect=True)
def test_locked_database_is_one_line(operator: Operator, test_db: ScratchSqlite) -> None:
    """Another process holds the lock: reading works, writing does not."""
    with test_db.outage():
        said = failure(operator("keys", "create", "--name", "harbour"))
    assert said == "The database is unavailable: database is locked"


def test_unknown_commit_outcome_is_reported_as_such(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator who took it for a failure would credit twice."""
    operator("keys", "create", "--name", "harbour", "--balance", "1")
    credit = Ledger.credit

    def credit_and_break(*arguments: Any, **named: Any) -> None:
        credit(*arguments, **named)
        raise CommitOutcomeUnknown from OSError("server closed the connection")

    monkeypatch.setattr(Ledger, "credit", credit_and_break)
    assert failure(operator("keys", "credit", "harbour", "5")) == (
        "The outcome is unknown: check before you run it again. server closed the connection"
    )
