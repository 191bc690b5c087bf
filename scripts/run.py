"""`make run`: starts the gateway with the Procfile's commands, and the sandbox unless MiniMax is to draw.

The sandbox is started if no MiniMax key is set, or if a SANDBOX_… variable is: the keys are then the sandbox's.
"""

from __future__ import annotations

import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import honcho.manager
from honcho.environ import parse_procfile

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
START_SECONDS = 60
# Seconds until honcho kills a process that was told to stop. Calls in flight have been paid for, so this is long.
honcho.manager.KILL_WAIT = 3600
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy for loopback

READY = """
The gateway is ready; images come from {upstream}. Ctrl-C stops it.
{playground}{keys}
Text to image:
  curl {base_url}/v1/images/generations \\
    -H {authorization} -H "Content-Type: application/json" \\
    -d '{{"model": "MiniMax-Image-01", "prompt": "A lighthouse at dusk", "size": "1792x1024"}}'

Image to image:
  curl {base_url}/v1/images/edits \\
    -H {authorization} \\
    -F model=MiniMax-Image-01 -F "prompt=The same face, on a harbour wall" -F {image}

Python (pip install openai):
  {imports}from openai import OpenAI
  client = OpenAI(base_url="{base_url}/v1", api_key={key})
  print(client.images.generate(model="MiniMax-Image-01", prompt="A lighthouse at dusk").data[0].url)
"""

PLAYGROUND = """
Open the playground in a browser:
  {url}
"""

KEY = """
The API key, for the examples in README.md and docs/:
  export AMUX_API_KEY={key}
"""

KEYS = """
API keys are in the database. Create one in a shell with the same DATABASE_URL:
  AMUX_API_KEY=$(cd {root} && {flask} --app wsgi keys create --name NAME)
  export AMUX_API_KEY
"""


class Runner(honcho.manager.Manager):  # type: ignore[misc]
    """Repeats a stop until every process has reported its pid; honcho would fail before that."""

    def terminate(self) -> None:
        if self._all_started():
            super().terminate()
        else:
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()


def main() -> int:
    environment = dict(os.environ)
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    environment.setdefault("HOST", HOST)
    environment["PORT"] = str(check_port(environment.get("PORT", "8000")))
    is_generated = not (environment.get("AMUX_API_KEYS") or environment.get("DATABASE_URL"))
    if is_generated:
        environment["AMUX_API_KEYS"] = f"amux-{secrets.token_urlsafe(32)}"
    names, reason = ["web"], sandbox_reason(environment)
    if reason is not None:
        environment |= sandbox_environment(environment)
        names.append("sandbox")

    commands = parse_procfile((ROOT / "Procfile").read_text()).processes
    if environment.get("DATABASE_URL") and not upgrade(commands["release"], environment):
        return 1
    manager = Runner()
    for name in names:
        env = environment if name == "web" else without_workers(environment)
        manager.add_process(name, f"exec {commands[name]}", env=env, cwd=str(ROOT))
    # A closed terminal stops the processes as Ctrl-C does.
    signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    threading.Thread(target=announce, args=(environment, reason, is_generated), daemon=True).start()
    manager.loop()
    return 0 if manager.returncode in (0, 130, 143) else 1


def upgrade(command: str, environment: dict[str, str]) -> bool:
    """Upgrade the database's schema. False if that failed; the command prints the reason."""
    return subprocess.run(shlex.split(command), cwd=ROOT, env=environment).returncode == 0


def check_port(text: str) -> int:
    """The port as a number. Exits with one line if it is invalid or cannot be listened on."""
    port = int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else 0
    if not 1 <= port <= 65535:
        sys.exit("PORT must be a number from 1 to 65535.")
    try:
        with socket.create_server((HOST, port)):
            return port
    except PermissionError:
        sys.exit(f"Port {port} needs root: choose one above 1023, for example PORT=8001 make run")
    except OSError:
        sys.exit(
            f"Port {port} is in use: stop the program on it or choose another port, for example PORT=8001 make run"
        )


def sandbox_reason(environment: Mapping[str, str]) -> str | None:
    """Why the sandbox takes MiniMax's place; None if it does not. Its port alone, which this script sets, is none."""
    chosen = sorted(name for name in environment if name.startswith("SANDBOX_") and name != "SANDBOX_PORT")
    for name in filter(environment.get, chosen):
        return f"{name} is set"
    return None if has_minimax_key(environment) else "MINIMAX_API_KEY is not set"


def has_minimax_key(environment: Mapping[str, str]) -> bool:
    return bool(environment.get("MINIMAX_API_KEY") or environment.get("MINIMAX_API_KEYS"))


def sandbox_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables that give the sandbox a free port and point the gateway to it, with a key if there is none.

    The gateway sets no rate for its keys unless it is told to, or the sandbox has one. A key that is made here does not
    rest either: it would rest after a fault that a prompt asked for, and there is no other.
    """
    has_rate = bool(environment.get("SANDBOX_REQUESTS_PER_MINUTE"))
    with socket.create_server((HOST, 0)) as probe:
        port = str(probe.getsockname()[1])
    chosen = {"SANDBOX_PORT": port, "MINIMAX_BASE_URL": f"http://{HOST}:{port}"}
    if not has_minimax_key(environment):
        chosen["MINIMAX_API_KEY"] = secrets.token_urlsafe(24)
        if "AMUX_REST_KEYS" not in environment and not has_rate:
            chosen["AMUX_REST_KEYS"] = "false"
    if "MINIMAX_REQUESTS_PER_MINUTE" not in environment and not has_rate:
        chosen["MINIMAX_REQUESTS_PER_MINUTE"] = "0"
    return chosen


def without_workers(environment: dict[str, str]) -> dict[str, str]:
    """The environment without WEB_CONCURRENCY. The sandbox ignores it, but gunicorn fails to import if it is wrong."""
    return {name: value for name, value in environment.items() if name != "WEB_CONCURRENCY"}


def announce(environment: dict[str, str], sandbox: str | None, is_generated: bool) -> None:
    """Print example commands once the gateway, and the sandbox if there is one, respond.

    `sandbox` is why there is one, or None. Only a key that is generated for this run is in the playground's URL: others
    would stay in the history of the browser's address bar.
    """
    base_url = f"http://{HOST}:{environment['PORT']}"
    needed = [f"{base_url}/readyz"] + ([f"{environment['MINIMAX_BASE_URL']}/healthz"] if sandbox else [])
    give_up = time.monotonic() + START_SECONDS
    while not all(responds(url) for url in needed):
        if time.monotonic() > give_up:
            return
        time.sleep(0.1)
    key = environment.get("AMUX_API_KEYS", "").split(",")[0]
    flask = shlex.quote(sys.executable) + " -m flask"
    page = f"{base_url}/#key={quote(key)}" if is_generated else f"{base_url}/"  # a fragment is not sent
    text = READY.format(
        base_url=base_url,
        playground=PLAYGROUND.format(url=page) if responds(f"{base_url}/") else "",  # 404 without pages
        upstream=f"the built-in sandbox ({sandbox})" if sandbox else "MiniMax, which charges for them",
        keys=KEY.format(key=shlex.quote(key)) if key else KEYS.format(root=shlex.quote(str(ROOT)), flask=flask),
        key=repr(key) if key else 'os.environ["AMUX_API_KEY"]',
        imports="" if key else "import os\n  ",
        authorization=shlex.quote(f"Authorization: Bearer {key}") if key else '"Authorization: Bearer $AMUX_API_KEY"',
        image=shlex.quote(f'image=@"{ROOT / "examples" / "face.jpg"}"'),  # quoted for curl, which splits at commas
    )
    print(text, flush=True)


def responds(url: str) -> bool:
    try:
        with _OPENER.open(url, timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


if __name__ == "__main__":
    sys.exit(main())
