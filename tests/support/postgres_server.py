"""A PostgreSQL server that a test may kill, stop and start again."""

from __future__ import annotations

import atexit
import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

from tests.support.processes import START_SECONDS

# On Debian the server programs are not on the PATH.
_FOUND = shutil.which(
    "initdb", path=os.pathsep.join([*map(str, Path("/usr/lib/postgresql").glob("*/bin")), os.environ["PATH"]])
)
BIN = Path(_FOUND).resolve().parent if _FOUND else None


class PostgresServer:
    """Listens on a socket in a temporary folder. Runs as `postgres` for root, as which PostgreSQL does not run."""

    def __init__(self, *, durable: bool = False) -> None:
        """`durable` turns fsync on, for benchmarks. A server that is killed needs none to keep its data."""
        self._fsync = "on" if durable else "off"
        self.user = "postgres" if os.geteuid() == 0 else None
        self._folder = Path(tempfile.mkdtemp(prefix="amux-postgres-", dir="/tmp"))
        self._data = self._folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()
        atexit.register(self.close)  # for a test run that ends early
        if self.user:
            account = pwd.getpwnam(self.user)
            os.chown(self._folder, account.pw_uid, account.pw_gid)
        self._run("initdb", "-D", str(self._data), "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8").wait()

    def start(self) -> None:
        """Start the server and wait until it responds. Code that depends on its time zone, an unusual one, fails."""
        give_up = time.monotonic() + START_SECONDS
        while not self._responds():
            if time.monotonic() > give_up:
                raise RuntimeError(f"PostgreSQL does not respond:\n{(self._folder / 'log').read_text()}")
            # A new server does not start until the shared memory of a killed one is released.
            if self._process is None or self._process.poll() is not None:
                settings = (
                    "listen_addresses=",
                    f"fsync={self._fsync}",
                    "timezone=Pacific/Kiritimati",
                    "max_connections=200",
                )
                chosen = [argument for setting in settings for argument in ("-c", setting)]
                self._process = self._run("postgres", "-D", str(self._data), "-k", str(self._folder), *chosen)
            time.sleep(0.02)

    def kill(self) -> None:
        """Send SIGKILL to all of its processes, and wait until their sockets are closed."""
        if self._process is None:
            return
        children = _children(self._process.pid)
        self.signal(signal.SIGKILL)
        self._process.wait()
        while any(map(_is_alive, children)):
            time.sleep(0.001)

    def signal(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            os.kill(self._process.pid, number)
            for child in _children(self._process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, number)

    def close(self) -> None:
        """End the server and remove its folder. Does nothing in a process that was forked from its owner."""
        if os.getpid() != self._owner:
            return
        try:
            if self._process is not None and self._process.poll() is None:
                self._process.send_signal(signal.SIGQUIT)
                self._process.wait(START_SECONDS)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def url(self, name: str) -> str:
        return f"postgresql://postgres@/{name}?host={self._folder}"

    def create(self, name: str, *, template: str = "template1") -> None:
        self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')

    def drop(self, name: str) -> None:
        self._execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())

    def _responds(self) -> bool:
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=START_SECONDS).close()
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        assert BIN is not None
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                [str(BIN / program), *arguments],
                cwd=self._folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                user=self.user,
                group=self.user,
                extra_groups=None if self.user is None else [],
            )


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
