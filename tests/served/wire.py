"""Callers on raw sockets, an upstream that holds its calls, and eyes for logs and processes."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from tests.support.processes import API_KEY, Served

MODEL = "MiniMax-Image-01"
GENERATIONS = "/v1/images/generations"
BUG = "bug in the gateway:"  # a prompt that begins so breaks `tests.served.buggy`
PATIENCE = 60  # seconds until a test gives up; nothing is measured by it


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
        """The envelope's inside, which has to be whole."""
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
    """A whole JSON request; `document` is JSON, or raw bytes as they are."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return head("POST", path, "Content-Type: application/json", f"Content-Length: {len(body)}", *lines, **more) + body


def generation(prompt: str, *lines: str) -> bytes:
    return post({"model": MODEL, "prompt": prompt}, *lines)


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
        """Waits for the gateway to close the connection without another word."""
        return self.socket.recv(1) == b""


def ask(url: str, data: bytes, method: str = "POST") -> Reply:
    with Caller(url) as caller:
        return caller.send(data).reply(method)


def health(url: str, path: str = "/healthz") -> int:
    return ask(url, head("GET", path, key=None), "GET").status


def request_id() -> str:
    return f"served-{uuid.uuid4().hex}"


def wait_until(holds: Callable[[], bool], what: str) -> None:
    give_up = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < give_up, f"never: {what}"
        time.sleep(0.05)


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
    """The one log line about a request, which may still be on its way."""
    wait_until(lambda: bool(request_lines(served, request_id)), "a log line about the request")
    [line] = request_lines(served, request_id)
    return line


class HoldingUpstream:
    """MiniMax that answers nobody before `release`, and then everybody with a picture named after the prompt."""

    def __init__(self) -> None:
        self.arrived: list[str] = []
        self.release = threading.Event()
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                prompt = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["prompt"]
                upstream.arrived.append(prompt)
                upstream.release.wait(2 * PATIENCE)
                body = json.dumps(
                    {
                        "id": "1",
                        "data": {"image_urls": [picture_url(prompt)]},
                        "metadata": {"success_count": "1", "failed_count": "0"},
                        "base_resp": {"status_code": 0, "status_msg": "success"},
                    }
                ).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (http.server's own name)
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 512

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def wait_for(self, calls: int) -> None:
        wait_until(lambda: len(self.arrived) >= calls, f"{calls} calls at once at MiniMax")


def picture_url(prompt: str) -> str:
    return f"http://pictures.example/{prompt.encode().hex()}.jpeg"


@contextmanager
def holding_upstream() -> Iterator[HoldingUpstream]:
    upstream = HoldingUpstream()
    thread = threading.Thread(target=upstream.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield upstream
    finally:
        upstream.release.set()
        upstream.server.shutdown()
        thread.join()
        upstream.server.server_close()


MARK = "SERVED_TEST_MARK"


def new_mark() -> str:
    return uuid.uuid4().hex


def marked_processes(mark: str) -> list[int]:
    """The ids of all running processes that were started, by whomever, with `MARK` set to `mark`."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and int(folder.name) != os.getpid():
            try:
                environment = (folder / "environ").read_bytes()
            except OSError:  # it has ended, or is somebody else's
                continue
            if f"{MARK}={mark}".encode() in environment.split(b"\0"):
                found.append(int(folder.name))
    return sorted(found)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
