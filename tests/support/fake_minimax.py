"""A fake MiniMax on a real socket: it records requests and sends scripted responses."""

from __future__ import annotations

import base64
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

Script = Callable[[socket.socket], None]


@dataclass(frozen=True)
class Received:
    """One request as received, with header names in lower case."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class FakeMinimax:
    """Runs `script` after each whole request; `received` holds the requests in order."""

    def __init__(self, port: int = 0) -> None:
        """Listen on `port`, or on any free one."""
        self.script: Script = respond(success())
        self.received: list[Received] = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", port), backlog=512)
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            connection.close()

    def respond_to(self, request: Received, connection: socket.socket) -> None:
        """Respond to one request. A subclass may look at it."""
        self.script(connection)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            while (request := _read_request(connection)) is not None:
                self.received.append(request)
                self.respond_to(request, connection)
        except OSError:
            pass
        finally:
            self._open.discard(connection)
            connection.close()


def _read_request(connection: socket.socket) -> Received | None:
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = connection.recv(65536)
        if not chunk:
            return None
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    line, *fields = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
    length = int(headers.get("content-length", 0))
    while len(body) < length:
        chunk = connection.recv(65536)
        if not chunk:
            return None
        body += chunk
    return Received(line, headers, body)


@contextmanager
def start_fake_minimax() -> Iterator[FakeMinimax]:
    server = FakeMinimax()
    try:
        yield server
    finally:
        server.close()


# Response documents.


def success(n: int = 1, *, response_format: str = "url", failed: int = 0, **metadata: Any) -> dict[str, Any]:
    """A success with `n` images."""
    key, items = {
        "url": ("image_urls", [f"http://images.example/{i}.jpeg?a=1&b=2" for i in range(n)]),
        "base64": ("image_base64", [base64.b64encode(b"\xff\xd8\xffimage %d" % i).decode() for i in range(n)]),
    }[response_format]
    return {
        "id": "03ff3cd0820949eb8a410056b5f21d38",
        "data": {key: items},
        "metadata": {"failed_count": str(failed), "success_count": str(n), **metadata},
        "base_resp": {"status_code": 0, "status_msg": "success"},
    }


def error_response(code: Any, message: Any = "a reason") -> dict[str, Any]:
    return {"id": "1", "base_resp": {"status_code": code, "status_msg": message}}


# Raw HTTP responses.


def http_bytes(
    body: bytes, *, status: int = 200, headers: dict[str, str] | None = None, length: int | None = None
) -> bytes:
    fields = {"Content-Type": "application/json", "Content-Length": str(len(body) if length is None else length)}
    fields |= headers or {}
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{k}: {v}" for k, v in fields.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def respond(document: Any, *, status: int = 200, headers: dict[str, str] | None = None, after: float = 0) -> Script:
    """A whole response, `after` seconds; `document` is JSON, or raw bytes."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return raw(http_bytes(body, status=status, headers=headers), after=after)


def raw(data: bytes, *, after: float = 0, then_close: bool = False) -> Script:
    def script(connection: socket.socket) -> None:
        time.sleep(after)
        connection.sendall(data)
        if then_close:
            connection.shutdown(socket.SHUT_RDWR)

    return script


def half(document: Any) -> Script:
    """Half of a response, then an orderly close."""
    body = json.dumps(document).encode()
    return raw(http_bytes(body[: len(body) // 2], length=len(body)), then_close=True)


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def drip(data: bytes, *, seconds_between: float) -> Script:
    """One byte at a time, while the client reads."""

    def script(connection: socket.socket) -> None:
        for byte in data:
            connection.sendall(bytes([byte]))
            time.sleep(seconds_between)

    return script


def when(released: threading.Event, then: Script) -> Script:
    """Run `then` once `released` is set."""

    def script(connection: socket.socket) -> None:
        released.wait(60)
        then(connection)

    return script


def in_turn(*scripts: Script) -> Script:
    """One script per request, in order; the last one for all further requests."""
    left = list(scripts)

    def script(connection: socket.socket) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(connection)

    return script
