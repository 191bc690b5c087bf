"""Load generators: wrk for fast calls, load.c for slow and large ones. Checks that each call made one upstream call."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from bench.payloads import Call, request_headers
from bench.servers import HOST, ROOT, Gateway, get


class WrongResponseError(Exception):
    """A gateway's responses are wrong, so its figures do not count; the message says why."""


@dataclass(frozen=True)
class Result:
    """`upstream_calls` is the stub's own count."""

    calls: int
    good: int
    p50_ms: float
    p99_ms: float
    upstream_calls: int = 0


class Load:
    """Sends calls to gateways that share one upstream stub."""

    def __init__(self, folder: Path, stub: Gateway, program: Path) -> None:
        self._folder = folder
        self._stub = stub
        self._program = program

    def fast(self, gateway: Gateway, call: Call, connections: int, seconds: float) -> Result:
        """Run wrk in a closed loop: each connection sends a call after each response. Raises `WrongResponseError`."""
        before = self.upstream_calls()
        headers = [f"{name}: {value}" for name, value in request_headers(gateway, call).items()]
        wrk = [
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{seconds}s",
            "--timeout=30s",
            "-s",
            str(ROOT / "bench" / "wrk.lua"),
        ]
        url = f"http://{HOST}:{gateway.port}{call.path}"
        files = [self._file("body", gateway, call), str(self._folder / f"expected.{call.response}")]
        printed = json.loads(_run([*wrk, url, "--", *files, *headers]).splitlines()[-1])
        # At the end, wrk abandons the calls in flight: up to one per connection.
        most = int(printed["calls"]) + connections
        result = Result(**printed, upstream_calls=self._wait_for_calls(before + most) - before)
        _check(gateway, result, result.calls, most)
        return result

    def counted(self, gateway: Gateway, call: Call, connections: int, calls: int) -> Result:
        """Send `calls` calls and compare each response byte for byte. Raises `WrongResponseError`."""
        before, uploads_before = self.upstream_calls(), self.uploads()
        result = self.finish(self.start(gateway, call, connections, calls), before)
        _check(gateway, result, calls, calls)
        if call.upload and self.uploads() - uploads_before != calls:
            raise WrongResponseError(f"{gateway.name}: an uploaded image did not arrive as it was sent")
        return result

    def start(
        self, gateway: Gateway, call: Call, connections: int, calls: int, interval_us: int = 0
    ) -> subprocess.Popen[str]:
        numbers = [str(number) for number in (gateway.port, connections, calls, interval_us)]
        files = [self._file("request", gateway, call), str(self._folder / f"expected.{call.response}")]
        return subprocess.Popen(
            [str(self._program), *numbers, *files], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def finish(self, process: subprocess.Popen[str], before: int) -> Result:
        """Wait for the process from `start`; `before` is the stub's count of calls at its start."""
        out, complaint = process.communicate()
        if complaint:
            (self._folder / "bad-responses.log").open("a").write(complaint)
        return Result(**json.loads(out), upstream_calls=self.upstream_calls() - before)

    def upstream_calls(self) -> int:
        return int(json.loads(get(self._stub.port, "/counts")[1])["calls"])

    def _wait_for_calls(self, expected: int) -> int:
        """Return the stub's count when it reaches `expected`, or after 3 seconds.

        A busy gateway still sends calls that wrk has abandoned; they must not count for the next gateway.
        """
        give_up = time.monotonic() + 3
        while (now := self.upstream_calls()) < expected and time.monotonic() < give_up:
            time.sleep(0.1)
        return now

    def uploads(self) -> int:
        return int(json.loads(get(self._stub.port, "/counts")[1])["uploads"])

    def _file(self, kind: str, gateway: Gateway, call: Call) -> str:
        return str(self._folder / f"{kind}.{gateway.name}.{call.name}")


def _run(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _check(gateway: Gateway, result: Result, fewest: int, most: int) -> None:
    if result.good != result.calls or not result.calls:
        raise WrongResponseError(f"{gateway.name}: {result.calls - result.good} of {result.calls} responses were wrong")
    if not fewest <= result.upstream_calls <= most:
        raise WrongResponseError(f"{gateway.name}: {result.upstream_calls} upstream calls for {result.calls} requests")
