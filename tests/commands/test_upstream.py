"""`upstream`: each key's state and the calls that wait, from the instances' files or from Redis."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from click.testing import Result

from app.accounts.api_key import fingerprint
from app.commands.app import create_commands
from app.pacing.redis_store import RedisStore
from app.pacing.sqlite_store import SqliteStore
from app.pacing.store import Grant, KeyRate, PacerStore, RestReason, Ticket
from app.settings import Settings
from tests.commands.conftest import document, failure, printed
from tests.integration.raw_http import MODEL, ask, post
from tests.support import processes
from tests.support.fake_minimax import error_response, respond, start_fake_minimax
from tests.support.processes import HOST, ROOT, environment, free_port
from tests.support.redis_server import needs_redis, redis_server

POOL = [KeyRate("aaaaaaaaaaaa", 3), KeyRate("bbbbbbbbbbbb", 2), KeyRate("cccccccccccc", 0)]


def upstream(folder: Path, *arguments: str, redis_url: str | None = None) -> Result:
    settings = Settings(api_keys=(), minimax_api_key="", state_folder=str(folder), redis_url=redis_url)
    return create_commands(settings).test_cli_runner().invoke(args=["upstream", *arguments])


def begin(store: PacerStore, count: int, *allowed: str) -> list[Grant]:
    """Begin calls with the keys `allowed` only."""
    others = frozenset(key.fingerprint for key in POOL) - set(allowed)
    found = [store.request(Ticket(os.urandom(8).hex(), "caller", "worker", others), 10) for _ in range(count)]
    return [grant for grant in found if isinstance(grant, Grant)]


def rest(store: PacerStore, key: str, reason: RestReason, code: str, seconds: float) -> None:
    store.rest(begin(store, 1, key)[0], reason, code, seconds, 3600)


def sqlite_store(folder: Path, port: int = 8000, keys: Sequence[KeyRate] = POOL) -> SqliteStore:
    store = SqliteStore(folder / f"upstream-{port}.db")
    store.create(keys)
    return store


def rows(*keys: tuple[str, int | None, int | None, int | None, str, str | None, int | None]) -> list[dict[str, Any]]:
    return [dict(zip(("key", "rate", "begun", "room", "state", "code", "seconds"), key, strict=True)) for key in keys]


FRESH = rows(
    ("aaaaaaaaaaaa", 3, 0, 3, "healthy", None, None),
    ("bbbbbbbbbbbb", 2, 0, 2, "healthy", None, None),
    ("cccccccccccc", None, None, None, "healthy", None, None),
)


def test_a_gateway_without_calls_has_all_its_room(tmp_path: Path) -> None:
    sqlite_store(tmp_path)
    assert document(upstream(tmp_path, "--json")) == [{"instance": "8000", "waiting": 0, "keys": FRESH}]


def use(store: PacerStore) -> None:
    """One key has a call, one rests, one has no rate; and two calls wait for the key that rests."""
    assert len(begin(store, 1, "aaaaaaaaaaaa")) == 1
    rest(store, "bbbbbbbbbbbb", "account", "1008", 300)
    assert begin(store, 2, "bbbbbbbbbbbb") == []


USED = {
    "waiting": 2,
    "keys": rows(
        ("aaaaaaaaaaaa", 3, 1, 2, "healthy", None, None),
        ("bbbbbbbbbbbb", 2, 1, 0, "account", "1008", 300),
        ("cccccccccccc", None, None, None, "healthy", None, None),
    ),
}


def test_calls_room_rests_and_waiting_calls_are_shown(tmp_path: Path) -> None:
    use(sqlite_store(tmp_path))
    assert document(upstream(tmp_path, "--json")) == [{"instance": "8000"} | USED]
    assert printed(upstream(tmp_path)) == (
        "instance 8000, calls waiting: 2\n"
        "key           rate  begun  room  state    code  seconds\n"
        "aaaaaaaaaaaa  3     1      2     healthy  -     -\n"
        "bbbbbbbbbbbb  2     1      0     account  1008  300\n"
        "cccccccccccc  -     -      -     healthy  -     -\n"
    )


@pytest.mark.parametrize(("reason", "code"), [("rate", "1002"), ("account", "2056"), ("refused", "1004")])
def test_a_rest_has_its_reason_code_and_seconds(tmp_path: Path, reason: RestReason, code: str) -> None:
    store = sqlite_store(tmp_path)
    rest(store, "cccccccccccc", reason, code, 77)
    [instance] = document(upstream(tmp_path, "--json"))
    assert instance["keys"][2] == rows(("cccccccccccc", None, None, None, reason, code, 77))[0]


def test_a_rest_that_is_over_is_not_shown(tmp_path: Path) -> None:
    rest(sqlite_store(tmp_path), "cccccccccccc", "rate", "1002", 0)
    [instance] = document(upstream(tmp_path, "--json"))
    assert instance["keys"] == FRESH


def test_each_instance_has_its_block(tmp_path: Path) -> None:
    use(sqlite_store(tmp_path, 8001))
    sqlite_store(tmp_path, 8000, [KeyRate("dddddddddddd", 10)])
    found = document(upstream(tmp_path, "--json"))
    assert [(instance["instance"], instance["waiting"]) for instance in found] == [("8000", 0), ("8001", 2)]
    blocks = printed(upstream(tmp_path)).split("\n\n")
    assert [block.splitlines()[0] for block in blocks] == [
        "instance 8000, calls waiting: 0",
        "instance 8001, calls waiting: 2",
    ]


def test_the_command_changes_nothing(tmp_path: Path) -> None:
    """Afterwards there are the same files, and the gateway begins its calls as before."""
    store = sqlite_store(tmp_path)
    use(store)
    files = sorted(tmp_path.iterdir())
    assert document(upstream(tmp_path, "--json")) == document(upstream(tmp_path, "--json"))
    assert sorted(tmp_path.iterdir()) == files
    assert len(begin(store, 3, "aaaaaaaaaaaa")) == 0  # two calls wait, so all that come wait behind them
    assert store.waiting() == 5


# What may be missing


def test_a_missing_folder_is_one_line(tmp_path: Path) -> None:
    message = failure(upstream(tmp_path / "nothing"))
    assert message == f"There is no folder {tmp_path}/nothing: set AMUX_STATE_FOLDER as the gateway has it."
    assert not (tmp_path / "nothing").exists()


def test_a_folder_without_a_gateway_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "other.db").touch()
    message = failure(upstream(tmp_path))
    assert message == f"No gateway has been started with {tmp_path}: set AMUX_STATE_FOLDER as the gateway has it."
    assert [path.name for path in tmp_path.iterdir()] == ["other.db"]


@pytest.mark.parametrize(
    "content", [b"", b"no database, but long enough for the head of one" * 10], ids=["empty", "text"]
)
def test_a_file_that_is_no_store_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "upstream-8000.db").write_bytes(content)
    assert failure(upstream(tmp_path)).startswith(f"{tmp_path}/upstream-8000.db cannot be read: ")


@contextmanager
def unprivileged() -> Iterator[None]:
    """As another user, if the tests run as root, who may open every file."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("closed", [".", "upstream-8000.db"])
def test_state_of_another_user_is_one_line(closed: str) -> None:
    with TemporaryDirectory() as name:  # unlike `tmp_path`, not below a folder that only its user may enter
        folder = Path(name)
        folder.chmod(0o755)
        sqlite_store(folder)
        path = folder / closed
        mode = path.stat().st_mode
        path.chmod(0)
        with unprivileged():
            message = failure(upstream(folder))
        path.chmod(mode)
    assert message == f"{path} cannot be opened: run the command as the gateway's user."


def test_a_file_that_stays_locked_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.pacing.sqlite_store.BUSY_SECONDS", 0.1)
    sqlite_store(tmp_path)
    with sqlite3.connect(tmp_path / "upstream-8000.db", isolation_level=None) as holder:
        holder.execute("BEGIN IMMEDIATE")
        assert failure(upstream(tmp_path)) == f"{tmp_path}/upstream-8000.db cannot be read: database is locked"
        holder.execute("ROLLBACK")
    holder.close()


# Redis


@needs_redis
def test_with_redis_the_keys_of_all_instances_are_shown(tmp_path: Path) -> None:
    with redis_server(tmp_path) as redis:
        message = failure(upstream(tmp_path, redis_url=redis.url))
        assert message == "Redis has no upstream keys yet: no gateway with this REDIS_URL has had a call."
        use(RedisStore(redis.url, POOL))
        assert document(upstream(tmp_path, "--json", redis_url=redis.url)) == [{"instance": "all"} | USED]
        assert printed(upstream(tmp_path, redis_url=redis.url)).startswith("instance all, calls waiting: 2\n")
        redis.kill()
        assert failure(upstream(tmp_path, redis_url=redis.url)).startswith("Redis is unavailable (ConnectionError)")


@needs_redis
def test_a_redis_that_does_not_respond_is_one_line(tmp_path: Path) -> None:
    with redis_server(tmp_path) as redis:
        redis.stop()
        assert failure(upstream(tmp_path, redis_url=redis.url)).startswith("Redis is unavailable (TimeoutError)")
        redis.go_on()


# A gateway and the command, each in a process of its own


def flask(**variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["flask", "--app", "wsgi", "upstream", "--json"],
        cwd=ROOT,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_served_gateways_keys_are_shown_without_secrets(tmp_path: Path) -> None:
    """The command needs no key and no database."""
    port, folder = free_port(), {"AMUX_STATE_FOLDER": str(tmp_path / "state")}
    with start_fake_minimax() as fake:
        fake.script = respond(error_response(1008))
        variables = processes.gateway_variables(port, fake.url) | folder
        del variables["MINIMAX_API_KEY"]
        variables |= {"MINIMAX_API_KEYS": "secret-a:5,secret-b", "MINIMAX_REQUESTS_PER_MINUTE": "7"}
        variables |= {"AMUX_REST_KEYS": "true"}
        command, log = processes.procfile_command("web"), tmp_path / "log"
        with processes.serve(command, f"http://{HOST}:{port}", "/readyz", log, variables) as gateway:
            assert ask(gateway.url, post({"model": MODEL, "prompt": "a"})).status == 429
            done = flask(**folder)
    assert (done.returncode, done.stderr) == (0, "")
    [instance] = json.loads(done.stdout)
    assert (instance["instance"], instance["waiting"]) == (str(port), 0)
    assert all(290 < key.pop("seconds") <= 300 for key in instance["keys"])
    expected = rows(
        (fingerprint("secret-a"), 5, 1, 0, "account", "1008", None),
        (fingerprint("secret-b"), 7, 1, 0, "account", "1008", None),
    )
    assert instance["keys"] == [{name: row[name] for name in row if name != "seconds"} for row in expected]
    assert "secret" not in done.stdout
