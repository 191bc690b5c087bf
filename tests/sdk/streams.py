"""The client programs of the four OpenAI SDKs, which make streaming calls and report what they saw."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import API_KEY, ROOT, Served, environment

FOLDER = Path(__file__).parent
CALL_SECONDS = 60
JAVA = (
    shutil.which("java") or "java",
    *("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m"),
    *("-cp", f"{FOLDER}/java/build/classes:{FOLDER}/java/build/lib/*", "StreamClient"),
)


@dataclass(frozen=True)
class Program:
    """The client program of one SDK. `built` is made by scripts/install-test-tools; `needs` says from what."""

    name: str
    command: tuple[str, ...]
    built: Path
    needs: str

    @property
    def is_built(self) -> bool:
        return self.built.exists() and shutil.which(self.command[0]) is not None


PROGRAMS = (
    Program("python", (sys.executable, "-m", "tests.sdk.stream_client"), FOLDER / "stream_client.py", "openai"),
    Program(
        "node",
        (str(Path(sys.executable).with_name("node")), f"{FOLDER}/node/stream.mjs"),
        FOLDER / "node" / "node_modules" / ".installed",
        "npm",
    ),
    Program("go", (f"{FOLDER}/go/build/stream",), FOLDER / "go" / "build" / ".built", "Go 1.21 or later"),
    Program("java", JAVA, FOLDER / "java" / "build" / ".built", "a JDK 17 or later and Maven"),
)

PARAMETERS = [
    pytest.param(
        program,
        id=program.name,
        marks=pytest.mark.skipif(
            not program.is_built, reason=f"install {program.needs} and run scripts/install-test-tools"
        ),
    )
    for program in PROGRAMS
]


@dataclass(frozen=True)
class StreamError:
    """An error as the SDK shows it; `kind` is its class, `status` is None where it has none."""

    kind: str
    status: int | None
    code: str | None


@dataclass
class Outcome:
    """What the SDK delivered of one call."""

    events: list[dict[str, str]] = field(default_factory=list)
    error: StreamError | None = None
    message: str = ""


class Sdk:
    """A running client program. Its calls use the SDK's default retries and timeouts."""

    def __init__(self, name: str, process: subprocess.Popen[str]) -> None:
        self.name = name
        self.is_idle = True  # False also after a test that failed within a call
        self._process = process

    def begin(
        self, served: Served, fields: dict[str, Any], request_id: str, image: Path | None = None, leave: bool = False
    ) -> None:
        """Send a streaming call: an edit if there is an `image`, else a generation.

        With `leave` the client closes the stream as soon as it is open.
        """
        call = {
            "base_url": f"{served.url}/v1",
            "api_key": API_KEY,
            "fields": fields,
            "image": image and str(image),
            "request_id": request_id,
            "leave": leave,
        }
        self.is_idle = False
        assert self._process.stdin
        self._process.stdin.write(json.dumps(call) + "\n")
        self._process.stdin.flush()

    def wait_for_head(self) -> None:
        """Wait until the SDK has returned the open stream."""
        line = self._read()
        assert line == {"head": True}, line

    def end(self) -> Outcome:
        """Wait for the end of the call that was begun last."""
        outcome = Outcome()
        while "end" not in (line := self._read()):
            match line:
                case {"event": event}:
                    outcome.events.append(event)
                case {"error": error}:
                    outcome.message = error.pop("message")
                    outcome.error = StreamError(**error)
        self.is_idle = True
        return outcome

    def call(self, served: Served, fields: dict[str, Any], request_id: str, image: Path | None = None) -> Outcome:
        self.begin(served, fields, request_id, image)
        return self.end()

    def _read(self) -> dict[str, Any]:
        watchdog = threading.Timer(CALL_SECONDS, self._process.kill)
        watchdog.start()
        try:
            assert self._process.stdout
            text = self._process.stdout.readline()
        finally:
            watchdog.cancel()
        assert text, f"the client of {self.name} ended or hung; its stderr has the reason"
        line: dict[str, Any] = json.loads(text)
        return line


class Programs:
    """Starts each program once, because a JVM takes seconds; `close` ends them."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._running: dict[str, Sdk] = {}

    def start(self, program: Program) -> Sdk:
        """A program that runs no call."""
        sdk = self._running.get(program.name)
        if sdk is None or not sdk.is_idle:
            sdk = self._running[program.name] = self._stack.enter_context(_run(program))
        return sdk

    def close(self) -> None:
        self._stack.close()


@contextmanager
def _run(program: Program) -> Iterator[Sdk]:
    kept = {name: value for name, value in environment().items() if not name.startswith("OPENAI_")}
    with subprocess.Popen(
        program.command, cwd=ROOT, env=kept, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        try:
            yield Sdk(program.name, process)
        finally:
            process.kill()
