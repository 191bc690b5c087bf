"""What blocks a native thread must not block the event loop: while one call is held, others are answered."""

from __future__ import annotations

import shutil
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.integration.billing_gateway import billing_gateway
from tests.integration.raw_http import Caller, generation, health, holding_upstream
from tests.support import processes
from tests.support.databases import ScratchPostgres, ScratchSqlite
from tests.support.fake_minimax import start_fake_minimax
from tests.support.processes import Served
from tests.support.redis_server import needs_redis, redis_server
from tests.support.waiting import wait_until

SLOW_GATEWAY = "gunicorn tests.server.slow_calls:app"
SLOW_HOST = "slow.invalid"
ONE_WORKER: dict[str, Any] = {"WEB_CONCURRENCY": "1"}  # so that the other caller meets the event loop that is held
CALLS = 20  # other calls, one after the other; each of them is answered long before the held one


def assert_others_are_answered(gateway: Served, caller: Caller) -> None:
    """While `caller` waits for its response."""
    for _ in range(CALLS):
        assert health(gateway.url) == 200
    caller.socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        caller.socket.recv(1, socket.MSG_PEEK)
    caller.socket.settimeout(60)


def held_call(gateway: Served) -> Caller:
    return Caller(gateway.url).send(generation("held"))


def test_name_resolution(tmp_path: Path) -> None:
    with (
        processes.gateway(
            tmp_path, f"http://{SLOW_HOST}:9", SLOW_GATEWAY, SLOW_HOST=SLOW_HOST, **ONE_WORKER
        ) as gateway,
        held_call(gateway) as caller,
    ):
        assert_others_are_answered(gateway, caller)
        assert caller.reply().error["code"] == "upstream_unreachable"


def test_tls_handshake(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        processes.gateway(tmp_path, f"https://127.0.0.1:{silent.getsockname()[1]}", **ONE_WORKER) as gateway,
        held_call(gateway) as caller,
    ):
        assert_others_are_answered(gateway, caller)
        assert caller.reply().error["code"] == "upstream_unreachable"


def test_sqlite_that_is_locked(tmp_path: Path, migrated_sqlite: Path) -> None:
    database = ScratchSqlite(Path(shutil.copy(migrated_sqlite, tmp_path / "amux.db")))
    with (
        start_fake_minimax() as upstream,
        billing_gateway(database, tmp_path, upstream.url, balance=1000, **ONE_WORKER) as paying,
    ):
        with database.outage(), Caller(paying.gateway.url).send(paying.drawing("held")) as caller:
            assert_others_are_answered(paying.gateway, caller)
            assert caller.reply().error["code"] == "storage_unavailable"
        assert upstream.received == []


def test_journal_on_a_slow_disk(tmp_path: Path, migrated_sqlite: Path) -> None:
    database = ScratchSqlite(Path(shutil.copy(migrated_sqlite, tmp_path / "amux.db")))
    variables = {**ONE_WORKER, "SLOW_FSYNC": "true"}
    with (
        holding_upstream() as upstream,
        billing_gateway(database, tmp_path, upstream.url, balance=1000, command=SLOW_GATEWAY, **variables) as paying,
        Caller(paying.gateway.url).send(paying.drawing("held")) as caller,
    ):
        upstream.wait_for(1)
        with database.outage():
            upstream.release.set()
            wait_until(lambda: any((tmp_path / "journal").glob("*.new")), "a journal entry that is being written")
            assert_others_are_answered(paying.gateway, caller)
            assert caller.reply().status == 200


@needs_redis
def test_redis_that_is_frozen(tmp_path: Path, migrated_sqlite: Path) -> None:
    """The call waits for Redis until its timeout, and is then counted in the process."""
    database = ScratchSqlite(Path(shutil.copy(migrated_sqlite, tmp_path / "amux.db")))
    with redis_server(tmp_path) as redis, start_fake_minimax() as upstream:
        variables = {**ONE_WORKER, "REDIS_URL": redis.url}
        limits = {"requests_per_minute": 100}
        with billing_gateway(database, tmp_path, upstream.url, balance=1000, limits=limits, **variables) as paying:
            redis.stop()
            with Caller(paying.gateway.url).send(paying.drawing("held")) as caller:
                for _ in range(CALLS):
                    assert health(paying.gateway.url) == 200
                assert caller.reply().status == 200
            redis.go_on()


@pytest.mark.parametrize("test_db", ["postgresql"], indirect=True)
def test_postgresql_that_is_frozen(test_db: ScratchPostgres, tmp_path: Path) -> None:
    with (
        start_fake_minimax() as upstream,
        billing_gateway(test_db, tmp_path, upstream.url, balance=1000, **ONE_WORKER) as paying,
    ):
        test_db.server.signal(signal.SIGSTOP)
        try:
            with Caller(paying.gateway.url).send(paying.drawing("held")) as caller:
                assert_others_are_answered(paying.gateway, caller)
                assert caller.reply().error["code"] == "storage_unavailable"
        finally:
            test_db.server.signal(signal.SIGCONT)
