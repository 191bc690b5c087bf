"""Several processes on one Redis: together they never exceed a limit, and the calls of a dead one expire."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from redis import Redis

from app.limits.redis_store import RedisStore
from app.limits.store import LimitRequest
from tests.limits.test_store import both
from tests.support.processes import ROOT
from tests.support.redis_server import RedisServer, needs_redis

pytestmark = needs_redis


@contextmanager
def client_process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has printed that it is ready. It is killed at the end."""
    command = [sys.executable, "-m", "tests.limits.concurrent_clients", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def test_concurrent_calls_of_four_processes_never_exceed_the_limit(shared_redis: RedisServer, key: str) -> None:
    arguments = (shared_redis.url, key)
    with (
        client_process(*arguments) as a,
        client_process(*arguments) as b,
        client_process(*arguments) as c,
        client_process(*arguments) as d,
    ):
        for process in (a, b, c, d):
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        admitted = [int(process.stdout.readline()) for process in (a, b, c, d) if process.stdout is not None]
    # 61 images, two a call, are used up before 40 calls in flight and 50 requests
    assert sum(admitted) == 30


def test_call_of_a_dead_worker_expires(shared_redis: RedisServer, key: str) -> None:
    with closing(RedisStore(shared_redis.url, 600, socket_timeout_seconds=30)) as store:
        with (
            client_process("hold", shared_redis.url, f"{key}long", "600"),
            client_process("hold", shared_redis.url, key, "0.5"),
        ):
            pass
        assert store.acquire(LimitRequest(f"{key}long", max_calls=1)).calls_full
        give_up = time.monotonic() + 30
        while not store.acquire(LimitRequest(key, max_calls=1)).admitted:
            assert time.monotonic() < give_up
            time.sleep(0.05)


def test_every_redis_key_expires(shared_redis: RedisServer, key: str) -> None:
    with closing(RedisStore(shared_redis.url, 180.5, socket_timeout_seconds=30)) as store:
        assert store.acquire(both(key, 5, 5, 2, 2)).admitted
    with Redis.from_url(shared_redis.url, decode_responses=True) as redis:
        lives = {name.removesuffix("/60/second"): redis.ttl(name) for name in redis.scan_iter(f"*{key}*")}
    assert set(lives) == {f"amux:calls/{key}", f"amux:rates/{key}/requests/5", f"amux:rates/{key}/images/5"}
    assert all(0 < life <= 182 for life in lives.values())
