"""The gateway and the sandbox as real processes, started by the Procfile's commands."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import requests
from honcho.environ import parse_procfile

from tests.support.listening import listens

ROOT = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"
API_KEY = "caller-key-for-tests"
UPSTREAM_KEY = "upstream-key-for-tests"
START_SECONDS = 30
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")  # which connections take their own ports from
SETTINGS = ("PORT", "HOST", "LOG_LEVEL", "DATABASE_URL", "REDIS_URL", "WEB_CONCURRENCY", "PROMETHEUS_MULTIPROC_DIR")


@dataclass
class Served:
    """A running server. `log` is the file that its stdout and stderr are written to, `state` its AMUX_STATE_FOLDER."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path
    state: Path = Path()

    def stop(self, seconds: float = 30) -> int:
        """Send SIGTERM and return the exit status."""
        self.process.terminate()
        return self.process.wait(seconds)


def _ports() -> Iterator[int]:
    """Ports in turn, so that none is given again before its server is bound to it. Each worker of pytest has its own.

    Another test run on this machine most likely begins at another port.
    """
    first, last = map(int, _EPHEMERAL.read_text().split())
    chosen = range(20_000, 32_768)
    ports = [port for port in chosen if not first <= port <= last] or chosen
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    count = max(int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")), worker + 1)
    ours = ports[worker::count]
    begin = random.SystemRandom().randrange(len(ours))
    return itertools.cycle([*ours[begin:], *ours[:begin]])


_next_ports = _ports()


def free_port() -> int:
    """A port to which a server can be bound."""
    return next(port for port in _next_ports if is_free(port))


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def environment(**variables: str) -> dict[str, str]:
    """This process's environment without the gateway's own variables, plus `variables`."""
    ours = ("AMUX_", "MINIMAX_", "SANDBOX_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(ours) and k not in SETTINGS}
    kept["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    return kept | variables


def procfile_command(name: str) -> str:
    return str(parse_procfile((ROOT / "Procfile").read_text()).processes[name])


@contextmanager
def serve(command: str, url: str, ready: str, log: Path, variables: dict[str, str]) -> Iterator[Served]:
    """Run a server. It has folders of its own, removed at its end, for what `variables` do not name a folder."""
    folder = log.with_name(f"{log.stem}-files")
    variables = own_folders(folder) | variables
    with log.open("wb") as output:
        process = subprocess.Popen(
            command.split(), cwd=ROOT, env=environment(**variables), stdout=output, stderr=subprocess.STDOUT
        )
    try:
        wait_until_ready(url + ready, process, log)
        yield Served(url, process, log, Path(variables["AMUX_STATE_FOLDER"]))
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def own_folders(folder: Path) -> dict[str, str]:
    """For what a gateway keeps, and for its temporary files, which one that is killed leaves behind."""
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    return {
        "AMUX_STATE_FOLDER": str(folder / "state"),
        "AMUX_JOURNAL_FOLDER": str(folder / "journal"),
        "TMPDIR": str(folder / "tmp"),
    }


def gateway_variables(port: int, upstream_url: str) -> dict[str, str]:
    """The required settings of a gateway on `port`, in front of `upstream_url`."""
    return {
        "HOST": HOST,
        "PORT": str(port),
        "AMUX_API_KEYS": API_KEY,
        "MINIMAX_API_KEY": UPSTREAM_KEY,
        "MINIMAX_BASE_URL": upstream_url,
        "WEB_CONCURRENCY": "2",
        "MINIMAX_REQUESTS_PER_MINUTE": "0",
        "AMUX_REST_KEYS": "false",
    }


@contextmanager
def gateway(tmp_path: Path, upstream_url: str, command: str | None = None, **variables: str) -> Iterator[Served]:
    """The Procfile's `web` process, or another `command`, in front of `upstream_url`."""
    port = free_port()
    chosen = gateway_variables(port, upstream_url) | variables
    if "MINIMAX_API_KEYS" in variables:
        del chosen["MINIMAX_API_KEY"]
    log = tmp_path / f"gateway-{port}.log"
    with serve(command or procfile_command("web"), f"http://{HOST}:{port}", "/readyz", log, chosen) as served:
        yield served


@contextmanager
def sandbox(tmp_path: Path, **variables: str) -> Iterator[Served]:
    """The Procfile's `sandbox` process, which accepts `UPSTREAM_KEY`."""
    port = free_port()
    chosen = {"SANDBOX_PORT": str(port), "MINIMAX_API_KEY": UPSTREAM_KEY} | variables
    log = tmp_path / f"sandbox-{port}.log"
    with serve(procfile_command("sandbox"), f"http://{HOST}:{port}", "/healthz", log, chosen) as served:
        yield served


def wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up:
        if process.poll() is not None:
            raise RuntimeError(f"ended with {process.returncode}:\n{log.read_text()}")
        # While another server has the port, gunicorn tries to bind for 5 s, and the other one may be ready.
        if is_ready(url) and process.poll() is None and listens(process.pid, urlsplit(url).port or 80):
            return
        time.sleep(0.05)
    raise RuntimeError(f"not ready:\n{log.read_text()}")


def is_ready(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).ok
    except requests.RequestException:
        return False
