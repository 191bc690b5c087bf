"""HTTP at the worker: malformed, slow, truncated, too large and old requests."""

from __future__ import annotations

import json
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from gunicorn.http.errors import InvalidResponseHeader

from app.server.json_logging import RedactingJsonFormatter
from app.server.worker import EnvelopeWorker
from app.web.body_limits import MAX_BODY_BYTES, MAX_DRAINED_BYTES
from tests.integration.raw_http import (
    GENERATIONS,
    MODEL,
    PATIENCE,
    Caller,
    Reply,
    ask,
    generation,
    head,
    health,
    holding_upstream,
    json_lines,
    only_line,
    post,
    request_id,
    request_lines,
)
from tests.support import processes
from tests.support.fake_minimax import FakeMinimax
from tests.support.processes import API_KEY, Served

SECRET = "what-only-the-caller-knows"
MB = 1024 * 1024
TOO_LARGE = MAX_BODY_BYTES + 4 * MB

# Not HTTP, or ambiguous HTTP; each holds `SECRET`.
MALFORMED: dict[str, tuple[int, bytes]] = {
    "no request line": (400, f"{SECRET}\r\n\r\n".encode()),
    "TLS": (400, b"\x16\x03\x01\x02\x00\x01\x00" + SECRET.encode() + b"\r\n\r\n"),
    "unknown version": (400, f"GET /{SECRET} HTTP/9.9\r\n\r\n".encode()),
    "lower case method": (400, f"get /{SECRET} HTTP/1.1\r\n\r\n".encode()),
    "no colon": (400, head("GET", "/healthz", f"Authorization Bearer {SECRET}")),
    "white space in a name": (400, head("GET", "/healthz", f"X {SECRET}: 1")),
    "white space before the colon": (400, head("GET", "/healthz", f"Authorization : Bearer {SECRET}")),
    "nul in a value": (400, head("GET", "/healthz", f"X-A: {SECRET}\0")),
    "folded header": (400, head("GET", "/healthz", "X-A: 1", f" {SECRET}")),
    "length and chunks": (
        400,
        head("POST", GENERATIONS, "Content-Length: 9", "Transfer-Encoding: chunked", f"X: {SECRET}"),
    ),
    "two lengths": (400, head("POST", GENERATIONS, "Content-Length: 1", "Content-Length: 2", f"X: {SECRET}")),
    "negative length": (400, head("POST", GENERATIONS, "Content-Length: -1", f"X: {SECRET}")),
    "length in message": (400, head("POST", GENERATIONS, f"Content-Length: {SECRET}")),
    "endless length": (400, head("POST", GENERATIONS, f"Content-Length: {'9' * 5000}", f"X: {SECRET}")),
    "chunks in HTTP/1.0": (
        400,
        head("POST", GENERATIONS, "Transfer-Encoding: chunked", f"X: {SECRET}", version="HTTP/1.0"),
    ),
    "unknown coding": (501, head("POST", GENERATIONS, f"Transfer-Encoding: {SECRET}")),
    "unknown expectation": (417, head("POST", GENERATIONS, f"Expect: {SECRET}")),
    "long line": (414, head("GET", f"/{SECRET}/{'a' * 5000}")),
    "long header": (431, head("GET", "/healthz", f"X: {SECRET}{'a' * 9000}")),
    "many headers": (431, head("GET", "/healthz", *[f"X-{number}: {SECRET}" for number in range(200)])),
}
CODES = {
    400: "bad_request",
    414: "uri_too_long",
    417: "expectation_failed",
    431: "request_header_fields_too_large",
    501: "not_implemented",
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_requests_get_the_envelope_and_are_logged_without_content(
    gateway: Served, upstream: FakeMinimax, case: str
) -> None:
    status, data = MALFORMED[case]
    assert SECRET.encode() in data
    with Caller(gateway.url) as caller:
        reply = caller.send(data).reply()
        assert caller.is_hung_up()
    assert reply.status == status
    assert reply.error["code"] == CODES[status]
    assert ("This is not a request that the server can read: " in reply.error["message"]) == (status == 400)
    assert SECRET not in reply.body.decode()
    assert reply.headers["x-should-retry"] == "false"
    line = only_line(gateway, reply.headers["x-request-id"])
    assert (line["status"], line["code"], line["endpoint"]) == (status, CODES[status], None)
    assert SECRET not in gateway.log.read_text()
    assert upstream.received == []
    assert health(gateway.url) == 200


def test_an_error_outside_the_app_is_500_and_logged_without_its_message(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """For example, gunicorn rejects an invalid header of the app's response."""
    worker = object.__new__(EnvelopeWorker)
    for error in (RuntimeError(SECRET), InvalidResponseHeader(SECRET)):
        caplog.clear()
        ours, theirs = socket.socketpair()
        with ours, theirs, caplog.at_level("DEBUG"):
            worker.handle_error(None, theirs, None, error)
            received = ours.recv(65536)
        head, _, body = received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
        assert json.loads(body)["error"]["code"] == "internal_error"
        assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
            ("ERROR", "Unhandled exception"),
            ("INFO", "request"),
        ]
        bug, line = caplog.records
        assert line.__dict__["status"] == 500
        assert bug.__dict__["request_id"] == line.__dict__["request_id"]
        assert line.__dict__["request_id"].encode() in head
        assert SECRET not in received.decode()
        assert SECRET not in RedactingJsonFormatter().format(bug)


# Requests whose head is valid and whose body is not.
STRANGE: dict[str, tuple[int, bytes]] = {
    "chunk of no size": (400, b"zz\r\n{}\r\n0\r\n\r\n"),
    "chunk without its end": (400, b"2\r\n{}zz0\r\n\r\n"),
    "chunk of negative size": (400, b"-2\r\n{}\r\n0\r\n\r\n"),
}


@pytest.mark.parametrize("case", STRANGE)
def test_malformed_chunks_are_400(gateway: Served, upstream: FakeMinimax, case: str) -> None:
    status, body = STRANGE[case]
    sent = request_id()
    lines = ("Content-Type: application/json", "Transfer-Encoding: chunked", f"x-request-id: {sent}")
    with Caller(gateway.url) as caller:
        reply = caller.send(head("POST", GENERATIONS, *lines) + body).reply()
        assert caller.is_hung_up()
    assert reply.status == status
    assert reply.error["message"]
    assert only_line(gateway, reply.headers["x-request-id"])["status"] == status
    assert upstream.received == []


@pytest.mark.parametrize("host", ["", "a b", "[::1", "x" * 2000, "evil.example:99999", "evil.example/path?x@y", "é"])
def test_an_invalid_host_header_is_not_an_internal_error(gateway: Served, host: str) -> None:
    sent = request_id()
    data = head("GET", "/v1/models", f"x-request-id: {sent}").replace(b"Host: 127.0.0.1", b"Host: " + host.encode())
    reply = ask(gateway.url, data, "GET")
    assert reply.status in (200, 400)
    assert reply.status == 200 or reply.error["message"]


@pytest.mark.parametrize("name", ["水\r\nX-Evil: 1", "a\0b", "é", "x" * 100_000, "a, b", ""])
def test_an_ignored_field_name_cannot_break_the_response_headers(
    gateway: Served, upstream: FakeMinimax, name: str
) -> None:
    reply = ask(gateway.url, post({"model": MODEL, "prompt": "a", name: 1, "quality": "hd"}))
    assert reply.status == 200
    assert "quality" in reply.headers["x-amux-ignored"]
    assert "x-evil" not in reply.headers


# Uploads


def chunked(body: bytes, size: int = 64 * 1024) -> Iterator[bytes]:
    for at in range(0, len(body), size):
        part = body[at : at + size]
        yield b"%x\r\n%b\r\n" % (len(part), part)
    yield b"0\r\n\r\n"


def test_a_chunked_upload_needs_no_length(gateway: Served, upstream: FakeMinimax) -> None:
    body = json.dumps({"model": MODEL, "prompt": "in little pieces"}).encode()
    sent = request_id()
    lines = ("Content-Type: application/json", "Transfer-Encoding: chunked", f"x-request-id: {sent}")
    with Caller(gateway.url) as caller:
        caller.send(head("POST", GENERATIONS, *lines))
        for part in chunked(body, 3):
            caller.send(part)
        assert caller.reply().status == 200
        assert caller.send(head("GET", "/healthz")).reply("GET").status == 200
    [received] = upstream.received
    assert received.json["prompt"] == "in little pieces"
    assert only_line(gateway, sent)["bytes_in"] == len(body)


def too_large(gateway: Served, *, with_length: bool) -> Reply:
    """The response to a caller that, like openai-node, sends everything before it reads."""
    body = b'{"model": "' + b"a" * TOO_LARGE
    framing = f"Content-Length: {len(body)}" if with_length else "Transfer-Encoding: chunked"
    with Caller(gateway.url) as caller:
        caller.send(head("POST", GENERATIONS, "Content-Type: application/json", framing))
        if with_length:
            caller.send(body)
        else:
            for part in chunked(body):
                caller.send(part)
        reply = caller.reply()
        assert caller.send(head("GET", "/healthz")).reply("GET").status == 200
    return reply


def test_a_body_that_is_too_slow_gets_408_that_names_the_timeout(upstream: FakeMinimax, tmp_path: Path) -> None:
    with (
        processes.gateway(tmp_path, upstream.url, AMUX_CLIENT_TIMEOUT_SECONDS="1.5") as gateway,
        Caller(gateway.url) as caller,
    ):
        caller.send(head("POST", GENERATIONS, "Content-Type: application/json", "Content-Length: 9"))
        reply = caller.reply()
    assert (reply.status, reply.error["code"]) == (408, "request_timeout")
    assert reply.error["message"].startswith("The request body did not arrive within 1.5 s. ")
    assert upstream.received == []


@pytest.mark.parametrize("with_length", [True, False], ids=["length", "chunked"])
def test_a_body_that_is_too_large_is_read_before_it_is_rejected(
    gateway: Served, upstream: FakeMinimax, with_length: bool
) -> None:
    """The caller gets a response instead of a broken pipe, and its connection is kept."""
    reply = too_large(gateway, with_length=with_length)
    assert reply.status == 413
    assert reply.error["code"] == "request_entity_too_large"
    assert reply.error["message"].startswith("The body is over 16 MiB; ")
    assert reply.headers["x-should-retry"] == "false"
    assert only_line(gateway, reply.headers["x-request-id"])["bytes_in"] == TOO_LARGE + 11
    assert upstream.received == []


def send_megabytes(caller: Caller, count: int) -> None:
    for _ in range(count):
        caller.send(b"100000\r\n" + b"a" * MB + b"\r\n")


def test_an_endless_body_is_read_up_to_a_bound(gateway: Served) -> None:
    sent = request_id()
    with Caller(gateway.url) as caller:
        caller.send(head("POST", GENERATIONS, "Transfer-Encoding: chunked", f"x-request-id: {sent}"))
        with pytest.raises(OSError, match=r"[Bb]roken pipe|[Rr]eset"):
            send_megabytes(caller, 4 * MAX_DRAINED_BYTES // MB)
    line = only_line(gateway, sent)
    assert line["status"] == 415
    assert MAX_DRAINED_BYTES <= line["bytes_in"] < MAX_DRAINED_BYTES + MB


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("framing", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=line"])
def test_a_caller_that_disconnects_during_its_upload_is_logged(
    gateway: Served, upstream: FakeMinimax, framing: str, reset: bool, kind: str
) -> None:
    sent = request_id()
    part = b'--line\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n' if "form" in kind else b'{"model": "'
    body = b"%x\r\n%b" % (len(part) + 9, part) if "chunked" in framing else part
    path = "/v1/images/edits" if "form" in kind else GENERATIONS
    with Caller(gateway.url) as caller:
        caller.send(head("POST", path, f"Content-Type: {kind}", framing, f"x-request-id: {sent}") + body)
        if reset:
            caller.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    line = only_line(gateway, sent)
    assert line["status"] == 400
    assert [line["message"] for line in json_lines(gateway.log) if line.get("request_id") == sent] == ["request"]
    assert upstream.received == []
    assert health(gateway.url) == 200


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_a_caller_that_disconnects_before_its_response_is_logged_with_the_image_count(
    tmp_path: Path, reset: bool
) -> None:
    sent = request_id()
    with holding_upstream() as upstream, processes.gateway(tmp_path, upstream.url) as gateway:
        with Caller(gateway.url) as caller:
            caller.send(generation("nobody waits", f"x-request-id: {sent}"))
            upstream.wait_for(1)
            if reset:
                caller.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        upstream.release.set()
        line = only_line(gateway, sent)
        assert (line["status"], line["delivered"]) == (200, 1)
        assert health(gateway.url) == 200
        assert gateway.stop() == 0


# Connections


def test_a_connection_is_kept_after_errors(gateway: Served, upstream: FakeMinimax) -> None:
    with Caller(gateway.url) as caller:
        for data, status in (
            (post(b"{"), 400),
            (post({"model": MODEL, "prompt": "a", "n": 99}), 400),
            (post({"model": MODEL, "prompt": "a"}, key="unknown"), 401),
            (post({"model": MODEL, "prompt": "a"}, path="/nowhere"), 404),
            (post({"model": MODEL, "prompt": "a"}, path="/v1/models"), 405),
            (generation("a"), 200),
        ):
            reply = caller.send(data).reply()
            assert reply.status == status
            assert status == 200 or reply.error["message"]
    assert len(upstream.received) == 1


def test_pipelined_requests_are_answered_in_order(gateway: Served, upstream: FakeMinimax) -> None:
    with Caller(gateway.url) as caller:
        first, second = request_id(), request_id()
        caller.send(post(b"{", f"x-request-id: {first}") + head("GET", "/healthz", f"x-request-id: {second}"))
        # One reader for both responses, because a reader buffers ahead.
        received = b""
        while received.count(b"HTTP/1.1 ") < 2 or not received.endswith(b"}\n"):
            received += caller.socket.recv(65536)
    order = [received.index(word) for word in (b" 400 ", first.encode(), b" 200 ", second.encode())]
    assert order == sorted(order)


@pytest.mark.parametrize("status", [200, 400])
def test_http_1_0_gets_a_response_and_a_closed_connection(gateway: Served, upstream: FakeMinimax, status: int) -> None:
    document = {"model": MODEL, "prompt": "old", "n": 1 if status == 200 else 99}
    with Caller(gateway.url) as caller:
        reply = caller.send(post(document, version="HTTP/1.0")).reply()
        assert caller.is_hung_up()
    assert reply.status == status
    assert int(reply.headers["content-length"]) == len(reply.body)


def test_head_gets_headers_only(gateway: Served) -> None:
    with Caller(gateway.url) as caller:
        reply = caller.send(head("HEAD", "/healthz")).reply("HEAD")
        assert (reply.status, reply.body) == (200, b"")
        assert caller.send(head("GET", "/healthz")).reply("GET").status == 200


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing: run scripts/install-test-tools")
@pytest.mark.parametrize(("key", "status"), [(API_KEY, 200), ("unknown", 401)])
def test_expect_100_continue_is_answered(
    gateway: Served, upstream: FakeMinimax, tmp_path: Path, key: str, status: int
) -> None:
    """curl sends Expect before large uploads, and waits a second for 100 Continue."""
    body = tmp_path / "body.json"
    body.write_text(json.dumps({"model": MODEL, "prompt": "a", "user": "u" * 2 * MB}))
    command = ["curl", "-sv", "--noproxy", "*", "-H", "Expect: 100-continue", "-H", f"Authorization: Bearer {key}"]
    command += ["-H", "Content-Type: application/json", "--data-binary", f"@{body}", gateway.url + GENERATIONS]
    done = subprocess.run(command, capture_output=True, timeout=PATIENCE, text=True)
    assert done.returncode == 0, done.stderr
    assert "< HTTP/1.1 100 Continue" in done.stderr
    assert f"< HTTP/1.1 {status} " in done.stderr
    assert ("data" if status == 200 else "error") in json.loads(done.stdout)


def test_a_well_formed_request_id_of_the_caller_is_kept(gateway: Served) -> None:
    for sent, sane in (("a.B-9_", True), ("x" * 128, True), ("x" * 129, False), ("a b", False), ("é", False)):
        reply = ask(
            gateway.url, head("GET", "/healthz").replace(b"Host", b"x-request-id: " + sent.encode() + b"\r\nHost")
        )
        assert (reply.headers["x-request-id"] == sent) is sane
        assert len(request_lines(gateway, reply.headers["x-request-id"])) == 1
