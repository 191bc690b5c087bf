"""`flask --app wsgi …` in a process of its own, with its environment."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.integration.test_run import running
from tests.support.databases import ScratchDatabase, ScratchSqlite
from tests.support.processes import ROOT, environment, procfile_command
from tests.support.waiting import wait_until


def flask(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["flask", "--app", "wsgi", *arguments],
        cwd=ROOT,
        env=environment(**{"DATABASE_URL": "", "REDIS_URL": ""} | variables),
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def url(migrated_sqlite: Path, tmp_path: Path) -> str:
    path = tmp_path / "amux.db"
    path.write_bytes(migrated_sqlite.read_bytes())
    return f"sqlite:///{path}"


def test_json_output_is_all_of_stdout(url: str) -> None:
    """It needs neither a MiniMax key nor prices."""
    made = flask("keys", "create", "--name", "harbour", "--json", DATABASE_URL=url, LOG_LEVEL="DEBUG")
    assert (made.returncode, made.stderr) == (0, "")
    assert json.loads(made.stdout)["name"] == "harbour"
    again = flask("keys", "create", "--name", "harbour", "--json", DATABASE_URL=url)
    assert (again.returncode, again.stdout, again.stderr) == (1, "", "Error: There is already a key harbour.\n")


def test_errors_are_one_line_and_not_logged(url: str, tmp_path: Path) -> None:
    (tmp_path / "end-broken.json").write_text("no JSON")
    swept = flask("ledger", "sweep", DATABASE_URL=url, AMUX_JOURNAL_FOLDER=str(tmp_path))
    assert (swept.returncode, swept.stderr) == (0, "")
    assert "Kept, as they cannot be replayed: 1." in swept.stdout
    with ScratchSqlite(tmp_path / "amux.db").outage():
        locked = flask("keys", "create", "--name", "harbour", DATABASE_URL=url)
    assert (locked.returncode, locked.stdout) == (1, "")
    assert locked.stderr == "Error: The database is unavailable: database is locked\n"


def test_missing_database_url_is_one_line() -> None:
    done = flask("keys", "list")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: DATABASE_URL must be set: keys, the ledger and usage are in there.\n"


def test_invalid_variable_is_named_without_its_value(url: str) -> None:
    done = flask("keys", "list", DATABASE_URL="mysql://amux:secretly@host/amux")
    assert (done.returncode, done.stdout) == (1, "")
    assert "DATABASE_URL: " in done.stderr
    assert "secretly" not in done.stderr
    assert "Traceback" not in done.stderr


def test_every_command_is_in_the_help(url: str) -> None:
    done = flask("--help", DATABASE_URL=url)
    assert done.returncode == 0
    for name in ("db", "keys", "ledger", "upstream", "usage"):
        assert re.search(rf"^  {name} ", done.stdout, re.MULTILINE)


@contextmanager
def all_held(test_db: ScratchDatabase, count: int) -> Iterator[None]:
    """Lets `count` commands go on once all have queried the version of the schema."""
    if isinstance(test_db, ScratchSqlite):  # SQLite does not allow queries while another process writes
        yield
        return
    with psycopg.connect(test_db.url) as holder, psycopg.connect(test_db.url, autocommit=True) as watcher:
        holder.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        holder.commit()
        holder.execute("LOCK TABLE alembic_version")
        yield
        held = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        wait_until(lambda: watcher.execute(held).fetchone() == (count,), "all of them")


def test_concurrent_upgrades_upgrade_once(empty_db: ScratchDatabase) -> None:
    with ThreadPoolExecutor() as pool, all_held(empty_db, 4):
        upgrades = [pool.submit(flask, "db", "upgrade", DATABASE_URL=empty_db.url) for _ in range(4)]
    done = [upgrade.result() for upgrade in upgrades]
    assert [(one.returncode, one.stdout, one.stderr) for one in done] == [
        (0, "The database's schema is up to date.\n", "")
    ] * 4


def test_release_phase_upgrades_or_does_nothing(tmp_path: Path) -> None:
    command = shlex.split(procfile_command("release"))
    for variables in ({"DATABASE_URL": ""}, {"DATABASE_URL": f"sqlite:///{tmp_path}/amux.db"}):
        done = subprocess.run(
            command, cwd=ROOT, env=environment(**variables), capture_output=True, text=True, timeout=60
        )
        assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "amux.db").exists()


def test_make_run_with_a_database_prints_how_to_create_a_key(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/amux.db"
    chosen = {"DATABASE_URL": url, "AMUX_PRICES": "image-01=5", "AMUX_JOURNAL_FOLDER": str(tmp_path)}
    with running(tmp_path, **chosen) as run:
        assert "Bearer $AMUX_API_KEY" in run.printed
        making = run.lines_under("API keys are in the database. Create one in a shell with the same DATABASE_URL")
        asking = f'curl -sS {run.url}/v1/models -H "Authorization: Bearer $AMUX_API_KEY"'
        variables = {"DATABASE_URL": url, "NO_PROXY": "*", "no_proxy": "*"}
        done = subprocess.run(
            ["sh", "-c", f"{making}\n{asking}"],
            cwd="/",
            env=environment(**variables),
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert json.loads(done.stdout)["data"][0]["id"] == "MiniMax-Image-01"


def test_make_run_with_a_missing_database_ends_in_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        ["python", "scripts/run.py"],
        cwd=ROOT,
        env=environment(DATABASE_URL="sqlite:////nowhere/amux.db", PORT="8999"),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: The database returned an error: unable to open database file\n"
