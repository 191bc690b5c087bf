"""Measures callers that wait: memory of each, and the lateness of heartbeats. `python -m bench.held_streams`.

A plain call, a stream, an asynchronous task, a caller that polls one with `?wait`, and one that waits for an
idempotency key that is in use: a thousand of each at once, on a gateway of their own.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import selectors
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from bench.__main__ import build, run_folder
from bench.databases import databases
from bench.measure import memory_kb, watched
from bench.payloads import SMALL, minimax_response, request_headers, write_payloads
from bench.servers import HOST, Gateway, Running, gateways, started, stub_gateway

CALLERS = 1000
ARRIVAL_SECONDS = 4.0
HEARTBEAT_SECONDS = 2
IMAGE = base64.b64encode(b"\xff\xd8\xff" + bytes(600))
HEARTBEAT = b": waiting"
SETTINGS = {"AMUX_STREAM_HEAD_SECONDS": "1", "AMUX_STREAM_HEARTBEAT_SECONDS": str(HEARTBEAT_SECONDS)}
DEFAULT = "ours,ours-sqlite,ours-postgresql"


@dataclass
class Reply:
    """What one caller has received. `late_ms` has how much later than expected each heartbeat came."""

    connection: socket.socket
    data: bytearray = field(default_factory=bytearray)
    late_ms: list[float] = field(default_factory=list)
    beat_at: float | None = None

    @property
    def is_complete(self) -> bool:
        head, end, body = bytes(self.data).partition(b"\r\n\r\n")
        if not end:
            return False
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        if b"content-length" in fields:
            return len(body) >= int(fields[b"content-length"])
        return body.endswith(b"0\r\n\r\n")

    @property
    def is_good(self) -> bool:
        """Whether the image, or an asynchronous call's 202, is in it."""
        status = bytes(self.data[9:12])
        return status == b"202" or (status == b"200" and IMAGE in self.data)

    def receive(self) -> bytes:
        data = self.connection.recv(65536)
        self.data += data
        if HEARTBEAT in data:
            now = time.monotonic()
            if self.beat_at is not None:
                self.late_ms.append((now - self.beat_at - HEARTBEAT_SECONDS) * 1000)
            self.beat_at = now
        return data


def ask_all(port: int, requests: Sequence[bytes], seconds: float) -> list[Reply]:
    """Send each request on its own connection, spread over `seconds`, and read all responses."""
    replies: list[Reply] = []
    selector = selectors.DefaultSelector()
    begin, left = time.monotonic(), len(requests)
    while left:
        sent = len(replies)
        if sent < len(requests) and time.monotonic() >= begin + sent * seconds / len(requests):
            connection = socket.create_connection((HOST, port))
            connection.sendall(requests[sent])
            replies.append(Reply(connection))
            selector.register(connection, selectors.EVENT_READ, replies[-1])
        for key, _ in selector.select(0 if sent < len(requests) else 1):
            data = key.data.receive()
            if not data or key.data.is_complete:
                selector.unregister(key.fileobj)
                key.data.connection.close()
                left -= 1
    return replies


class Requests:
    """The requests to one gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def post(self, path: str = "", headers: dict[str, str] | None = None, *, wait: int = 12, **more: object) -> bytes:
        """A call that takes `wait` seconds."""
        fields = {
            "model": self._gateway.model,
            "prompt": f"A lighthouse at dusk, wait={wait * 1000} response=small",
            "response_format": "b64_json",
        }
        body = json.dumps(fields | more).encode()
        return self._lines("POST", f"/v1/images/generations{path}", len(body), headers or {}) + body

    def get(self, path: str) -> bytes:
        return self._lines("GET", path, 0, {})

    def _lines(self, method: str, path: str, length: int, headers: dict[str, str]) -> bytes:
        fields = request_headers(self._gateway, SMALL) | {"Content-Length": str(length)} | headers
        return "\r\n".join([f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items()), "", ""]).encode()


def plain(requests: Requests, port: int) -> list[Reply]:
    return ask_all(port, [requests.post()] * CALLERS, ARRIVAL_SECONDS)


def streams(requests: Requests, port: int) -> list[Reply]:
    return ask_all(port, [requests.post(stream=True)] * CALLERS, ARRIVAL_SECONDS)


def one_key(requests: Requests, port: int) -> list[Reply]:
    """One call, and the others wait for it."""
    return ask_all(port, [requests.post(headers={"Idempotency-Key": "held"})] * CALLERS, ARRIVAL_SECONDS)


def tasks(requests: Requests, port: int) -> list[Reply]:
    """As many asynchronous calls, whose tasks nobody polls yet."""
    return ask_all(port, [requests.post("/async")] * CALLERS, ARRIVAL_SECONDS)


def polls(requests: Requests, accepted: Sequence[Reply], port: int) -> list[Reply]:
    """One caller for each of the tasks."""
    ids = [json.loads(bytes(reply.data).partition(b"\r\n\r\n")[2])["id"] for reply in accepted]
    paths = [f"/v1/images/tasks/{task_id}?wait=20" for task_id in ids]
    return ask_all(port, [requests.get(path) for path in paths], ARRIVAL_SECONDS)


@dataclass(frozen=True)
class Figures:
    """Of one way of waiting: KB of memory a caller, and how late heartbeats came, in milliseconds."""

    way: str
    good: int
    kb: float
    late_ms: Sequence[float]

    def line(self, gateway: str) -> str:
        late = sorted(self.late_ms)
        p99, worst = (f"{late[len(late) * 99 // 100]:.0f}", f"{late[-1]:.0f}") if late else ("–", "–")
        return f"| {gateway} | {self.way} | {self.good} | {self.kb:.1f} | {len(late)} | {p99} | {worst} |"


def measured(way: str, running: Running, ask: Callable[[], list[Reply]]) -> tuple[Figures, list[Reply]]:
    before_kb = memory_kb(running.pid)
    with watched(running.pid, every_seconds=0.5) as peak:
        replies = ask()
    late = [ms for reply in replies for ms in reply.late_ms]
    good = sum(reply.is_good for reply in replies)
    return Figures(way, good, (max(peak.kb, memory_kb(running.pid)) - before_kb) / len(replies), late), replies


def measure(running: Running, ways: Sequence[str]) -> list[Figures]:
    """Each way follows the others on the same gateway only where `ways` has several."""
    requests, port = Requests(running.gateway), running.gateway.port
    if ways == ["tasks"]:
        accepted, replies = measured("asynchronous calls", running, lambda: tasks(requests, port))
        waiting, _ = measured("callers that poll them", running, lambda: polls(requests, replies, port))
        return [accepted, waiting]
    [way] = ways
    figures, _ = measured(way, running, lambda: WAYS[way](requests, port))
    return [figures]


WAYS = {"plain": plain, "streams": streams, "one key": one_key}


def warm_up(running: Running) -> None:
    """Every worker has then done its one-time imports and connects."""
    requests = Requests(running.gateway)
    for request in (requests.post(wait=0), requests.post(wait=0, stream=True), requests.post("/async", wait=0)):
        ask_all(running.gateway.port, [request] * 100, 1)
    time.sleep(1)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.held_streams", description=__doc__)
    parser.add_argument("--only", default=DEFAULT, help=f"default {DEFAULT}")
    parser.add_argument("--ways", default="plain,streams,tasks,one key")
    parser.add_argument("--keep", action="store_true", help="keep the logs")
    options = parser.parse_args()
    names = options.only.split(",")
    print("| gateway | waiting | good | KB each | heartbeats | late p99, ms | worst |\n|---|---|---|---|---|---|---|")
    with run_folder(options.keep) as folder, contextlib.ExitStack() as stack:
        write_payloads(folder)
        (folder / "minimax.small").write_text(minimax_response("image_base64", [IMAGE.decode()]))
        stub = stub_gateway(folder, build("stub", folder))
        chosen = gateways(names, folder, stub, stack.enter_context(databases(names, folder)))
        stack.enter_context(started(stub, folder))
        for gateway in chosen:
            gateway = replace(gateway, environment={**gateway.environment, **SETTINGS})
            for way in options.ways.split(","):
                with started(gateway, folder) as running:
                    warm_up(running)
                    for figures in measure(running, [way]):
                        print(figures.line(gateway.name), flush=True)


if __name__ == "__main__":
    main()
