"""Runs the gateway on this machine with the Procfile's own commands, and the sandbox where there is no MiniMax key."""

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
from pathlib import Path

import honcho.manager
from honcho.environ import parse_procfile

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
START_SECONDS = 60
# honcho kills what is still running this long after a stop; the calls in flight have been paid for.
honcho.manager.KILL_WAIT = 3600
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy of the environment is not for loopback

READY = """
The gateway is ready at {base_url}; {upstream} draws. Ctrl-C stops it.
{keys}
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


KEYS = """
Keys are in the database. This makes one, in a shell with the same DATABASE_URL:
  AMUX_API_KEY=$(cd {root} && {flask} --app wsgi keys create --name NAME)
  export AMUX_API_KEY
"""


class Runner(honcho.manager.Manager):  # type: ignore[misc]
    """honcho, which fails where a stop comes before every process has told its pid: here the stop comes again."""

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
    if not (environment.get("AMUX_API_KEYS") or environment.get("DATABASE_URL")):
        environment["AMUX_API_KEYS"] = f"amux-{secrets.token_urlsafe(32)}"
    names = ["web"]
    if not environment.get("MINIMAX_API_KEY"):
        environment |= sandbox_environment()
        names.append("sandbox")

    commands = parse_procfile((ROOT / "Procfile").read_text()).processes
    if environment.get("DATABASE_URL") and not upgrade(commands["release"], environment):
        return 1
    manager = Runner()
    for name in names:
        manager.add_process(name, f"exec {commands[name]}", env=environment, cwd=str(ROOT))
    # Nobody is left to press Ctrl-C when the terminal is closed.
    signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    threading.Thread(target=announce, args=(environment, "sandbox" in names), daemon=True).start()
    manager.loop()
    return 0 if manager.returncode in (0, 130, 143) else 1


def upgrade(command: str, environment: dict[str, str]) -> bool:
    """The database's schema; what is wrong with it, the command says."""
    return subprocess.run(shlex.split(command), cwd=ROOT, env=environment).returncode == 0


def check_port(text: str) -> int:
    """The port's number. Ends the run with one line where it cannot be had."""
    port = int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else 0
    if not 1 <= port <= 65535:
        sys.exit("PORT must be a number from 1 to 65535.")
    try:
        with socket.create_server((HOST, port)):
            return port
    except PermissionError:
        sys.exit(f"Port {port} is not allowed to you: choose one from 1024 up, like PORT=8001 make run")
    except OSError:
        sys.exit(f"Port {port} is in use: stop what listens there, or choose another one, like PORT=8001 make run")


def sandbox_environment() -> dict[str, str]:
    """A free port and a key of its own for the sandbox, and the gateway pointed at it."""
    with socket.create_server((HOST, 0)) as probe:
        port = str(probe.getsockname()[1])
    return {
        "SANDBOX_PORT": port,
        "MINIMAX_BASE_URL": f"http://{HOST}:{port}",
        "MINIMAX_API_KEY": secrets.token_urlsafe(24),
    }


def announce(environment: dict[str, str], sandbox: bool) -> None:
    """Prints lines to paste as soon as everything answers."""
    base_url = f"http://{HOST}:{environment['PORT']}"
    needed = [f"{base_url}/readyz"] + ([f"{environment['MINIMAX_BASE_URL']}/healthz"] if sandbox else [])
    give_up = time.monotonic() + START_SECONDS
    while not all(answers(url) for url in needed):
        if time.monotonic() > give_up:
            return
        time.sleep(0.1)
    key = environment.get("AMUX_API_KEYS", "").split(",")[0]
    text = READY.format(
        base_url=base_url,
        upstream="the built-in sandbox (no MINIMAX_API_KEY is set)" if sandbox else "MiniMax itself, for money,",
        keys="" if key else KEYS.format(root=shlex.quote(str(ROOT)), flask=shlex.quote(sys.executable) + " -m flask"),
        key=repr(key) if key else 'os.environ["AMUX_API_KEY"]',
        imports="" if key else "import os\n  ",
        authorization=shlex.quote(f"Authorization: Bearer {key}") if key else '"Authorization: Bearer $AMUX_API_KEY"',
        image=shlex.quote(f'image=@"{ROOT / "examples" / "face.jpg"}"'),  # curl's own quotes: a comma would split it
    )
    print(text, flush=True)


def answers(url: str) -> bool:
    try:
        with _OPENER.open(url, timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


if __name__ == "__main__":
    sys.exit(main())
