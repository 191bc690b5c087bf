"""Callers on raw sockets, an upstream that holds its calls, and helpers for logs and processes."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from tests.support.async_server import AsyncServer
from tests.support.images import JPEG
from tests.support.processes import API_KEY, Served
from tests.support.request_encodings import BOUNDARY, a_file, multipart
from tests.support.waiting import wait_until

MODEL = "MiniMax-Image-01"
GENERATIONS = "/v1/images/generations"
EDITS = "/v1/images/edits"
BUG = "bug in the gateway:"  # `tests.integration.broken_app` raises for prompts with this prefix
FAST = "answered at once"
PATIENCE = 60  # seconds until a test gives up


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The `error` object, after a check of the whole envelope."""
        assert self.headers["content-type"] == "application/json"
        document = self.json
        assert list(document) == ["error"]
        error: dict[str, Any] = document["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["type"] == "minimax_image_error"
        return error


def head(method: str, path: str, *lines: str, version: str = "HTTP/1.1", key: str | None = API_KEY) -> bytes:
    """A request's head; `lines` are more header lines."""
    fields = [f"{method} {path} {version}", "Host: 127.0.0.1", *lines]
    if key is not None:
        fields.append(f"Authorization: Bearer {key}")
    return "\r\n".join([*fields, "", ""]).encode("latin-1")


def post(document: Any, *lines: str, path: str = GENERATIONS, **more: Any) -> bytes:
    """A whole JSON request; `document` is JSON, or raw bytes."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return head("POST", path, "Content-Type: application/json", f"Content-Length: {len(body)}", *lines, **more) + body


def generation(prompt: str, *lines: str) -> bytes:
    return post({"model": MODEL, "prompt": prompt}, *lines)


def edit(prompt: str, *lines: str, image: bytes = JPEG) -> bytes:
    """A multipart request with an image."""
    body = multipart(("model", MODEL), ("prompt", prompt), a_file(image))
    kind = f"Content-Type: multipart/form-data; boundary={BOUNDARY}"
    return head("POST", EDITS, kind, f"Content-Length: {len(body)}", *lines) + body


class Caller:
    """One connection to the gateway."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.socket = socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> Self:
        self.socket.sendall(data)
        return self

    def reply(self, method: str = "POST") -> Reply:
        response = HTTPResponse(self.socket, method=method)
        try:
            response.begin()
            body = response.read()
            return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, body)
        finally:
            response.close()

    def is_hung_up(self) -> bool:
        """Wait until the gateway closes the connection; False if it sends anything first."""
        return self.socket.recv(1) == b""


def ask(url: str, data: bytes, method: str = "POST") -> Reply:
    with Caller(url) as caller:
        return caller.send(data).reply(method)


def health(url: str, path: str = "/healthz") -> int:
    return ask(url, head("GET", path, key=None), "GET").status


def request_id() -> str:
    return f"served-{uuid.uuid4().hex}"


def is_refused(url: str) -> bool:
    try:
        Caller(url).socket.close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        return False
    return False


def json_lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


def request_lines(served: Served, request_id: str) -> list[dict[str, Any]]:
    return [
        line for line in json_lines(served.log) if line.get("request_id") == request_id and line["message"] == "request"
    ]


def only_line(served: Served, request_id: str) -> dict[str, Any]:
    """Wait for the one log line about a request."""
    wait_until(lambda: bool(request_lines(served, request_id)), "a log line about the request")
    [line] = request_lines(served, request_id)
    return line


@dataclass(frozen=True)
class Call:
    """A request as MiniMax received it; only the size and digest of its body are kept."""

    headers: dict[str, str]
    size: int
    sha256: str
    prompt: str


class HoldingUpstream(AsyncServer):
    """A fake MiniMax that responds only after `release` is set, with an image named after the prompt.

    The prompt `FAST` gets its response at once. One thread serves any number of calls.
    """

    def __init__(self, respond: Callable[[str], bytes] | None = None) -> None:
        """`respond` makes the JSON text for a prompt."""
        self.calls: list[Call] = []
        self.release = threading.Event()
        self._respond = respond or image_response
        self._released = asyncio.Event()
        super().__init__()

    @property
    def arrived(self) -> list[str]:
        return [call.prompt for call in self.calls]

    def wait_for(self, calls: int) -> None:
        wait_until(lambda: len(self.calls) >= calls, f"{calls} calls at once at MiniMax")

    def close(self) -> None:
        self.release.set()
        super().close()

    async def run_in_background(self) -> None:
        while not self.release.is_set():
            await asyncio.sleep(0.01)
        self._released.set()

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            call = await _receive(reader)
            self.calls.append(call)
            if call.prompt != FAST:
                await self._released.wait()
            body = self._respond(call.prompt)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
            for at in range(0, len(body), 65536):
                writer.write(body[at : at + 65536])
                await writer.drain()


async def _receive(reader: asyncio.StreamReader) -> Call:
    head = await reader.readuntil(b"\r\n\r\n")
    fields = (line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:-2])
    headers = {name.lower(): value.strip() for name, _, value in fields}
    left, digest, beginning = int(headers["content-length"]), hashlib.sha256(), b""
    while left:
        data = await reader.read(min(left, 65536))
        if not data:
            raise asyncio.IncompleteReadError(b"", left)
        left -= len(data)
        digest.update(data)
        beginning = (beginning + data)[:65536]
    [prompt] = _PROMPT.findall(beginning)
    return Call(headers, int(headers["content-length"]), digest.hexdigest(), json.loads(prompt))


_PROMPT = re.compile(rb'"prompt":\s*("(?:[^"\\]|\\.)*")')


def image_response(prompt: str) -> bytes:
    return json.dumps(success_of(image_urls=[image_url(prompt)])).encode()


def success_of(**images: list[str]) -> dict[str, Any]:
    return {
        "id": "1",
        "data": images,
        "metadata": {"success_count": str(len(*images.values())), "failed_count": "0"},
        "base_resp": {"status_code": 0, "status_msg": "success"},
    }


def image_url(prompt: str) -> str:
    return f"http://images.example/{prompt.encode().hex()}.jpeg"


@contextmanager
def holding_upstream(respond: Callable[[str], bytes] | None = None) -> Iterator[HoldingUpstream]:
    upstream = HoldingUpstream(respond)
    try:
        yield upstream
    finally:
        upstream.close()


MARK = "SERVED_TEST_MARK"


def new_mark() -> str:
    return uuid.uuid4().hex


def marked_processes(mark: str) -> list[int]:
    """The ids of all running processes whose environment has `MARK` set to `mark`."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and int(folder.name) != os.getpid():
            try:
                environment = (folder / "environ").read_bytes()
            except OSError:  # the process has ended, or belongs to another user
                continue
            if f"{MARK}={mark}".encode() in environment.split(b"\0"):
                found.append(int(folder.name))
    return sorted(found)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
