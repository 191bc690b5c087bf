"""A redis-server without persistence that a test may kill, stop and start again."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.processes import HOST, START_SECONDS, free_port

REDIS = shutil.which("redis-server")
needs_redis = pytest.mark.skipif(REDIS is None, reason="redis-server is missing: run scripts/install-test-tools")


class RedisServer:
    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://{HOST}:{self.port}/0"
        self._log = folder / f"redis-{self.port}.log"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start an empty server, and wait until it responds."""
        assert REDIS is not None
        address = ["--bind", HOST, "--port", str(self.port)]
        files = ["--save", "", "--appendonly", "no", "--dir", str(self._folder), "--logfile", str(self._log)]
        self._process = subprocess.Popen([REDIS, *address, *files])
        give_up = time.monotonic() + START_SECONDS
        while not self._responds():
            if self._process.poll() is not None or time.monotonic() > give_up:
                self.kill()
                raise RuntimeError(f"redis-server does not respond:\n{self._log.read_text()}")
            time.sleep(0.01)

    def kill(self) -> None:
        """Send SIGKILL, which works for a stopped process too."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """Send SIGSTOP: it no longer responds, but the kernel still accepts connections for it."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _responds(self) -> bool:
        try:
            with socket.create_connection((HOST, self.port), timeout=START_SECONDS) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(7) == b"+PONG\r\n"
        except OSError:
            return False


@contextmanager
def redis_server(folder: Path) -> Iterator[RedisServer]:
    server = RedisServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One server for all tests that neither stop nor change it."""
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server that the test may kill and stop."""
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server
