"""Runs the gateway on this machine with the Procfile's own commands, and the sandbox where there is no MiniMax key."""

from __future__ import annotations

import os
import secrets
import shlex
import socket
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

READY = """
The gateway is ready at {base_url}; {upstream} draws. Ctrl-C stops it.

Text to image:
  curl {base_url}/v1/images/generations \\
    -H "Authorization: Bearer {key}" -H "Content-Type: application/json" \\
    -d '{{"model": "MiniMax-Image-01", "prompt": "A lighthouse at dusk", "size": "1792x1024"}}'

Image to image:
  curl {base_url}/v1/images/edits \\
    -H "Authorization: Bearer {key}" \\
    -F model=MiniMax-Image-01 -F "prompt=The same face, on a harbour wall" -F image=@{face}

Python (pip install openai):
  from openai import OpenAI
  client = OpenAI(base_url="{base_url}/v1", api_key="{key}")
  print(client.images.generate(model="MiniMax-Image-01", prompt="A lighthouse at dusk").data[0].url)
"""


def main() -> int:
    environment = dict(os.environ)
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    environment.setdefault("HOST", HOST)
    environment.setdefault("PORT", "8000")
    environment.setdefault("AMUX_API_KEYS", f"amux-{secrets.token_urlsafe(32)}")
    check_port(environment["PORT"])
    names = ["web"]
    if not environment.get("MINIMAX_API_KEY"):
        environment |= sandbox_environment()
        names.append("sandbox")

    commands = parse_procfile((ROOT / "Procfile").read_text()).processes
    manager = honcho.manager.Manager()
    for name in names:
        manager.add_process(name, f"exec {commands[name]}", env=environment, cwd=str(ROOT))
    threading.Thread(target=announce, args=(environment, "sandbox" in names), daemon=True).start()
    manager.loop()
    return 0 if manager.returncode in (0, 130, 143) else 1


def check_port(port: str) -> None:
    """Ends the run with one line where the port cannot be had."""
    try:
        with socket.create_server((HOST, int(port))):
            return
    except (ValueError, OverflowError):
        sys.exit("PORT must be a number from 1 to 65535.")
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
    text = READY.format(
        base_url=base_url,
        upstream="the built-in sandbox (no MINIMAX_API_KEY is set)" if sandbox else "MiniMax itself, for money,",
        key=environment["AMUX_API_KEYS"].split(",")[0],
        face=shlex.quote(str(ROOT / "examples" / "face.jpg")),
    )
    print(text, flush=True)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


if __name__ == "__main__":
    sys.exit(main())
