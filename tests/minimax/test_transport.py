"""Transport failures on real sockets: whatever breaks, the paid POST is sent at most once."""

from __future__ import annotations

import gzip
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from app.minimax import client as minimax_client
from app.minimax.client import MinimaxClient
from app.minimax.errors import MinimaxError
from tests.conftest import MakeClient
from tests.minimax.calls import ENDPOINTS, MODEL, PROMPT, assert_error, generate
from tests.minimax.listeners import Connection, listening, refusing_port
from tests.support.fake_minimax import (
    FakeMinimax,
    Script,
    drip,
    error_response,
    half,
    http_bytes,
    in_turn,
    raw,
    reset,
    respond,
    success,
)
from tests.support.images import JPEG, data_url
from tests.support.processes import UPSTREAM_KEY

GOOD = json.dumps(success(1)).encode()
DEADLINE_SECONDS = 1.0  # the dripping responses below would take many times as long
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def send_then_reset(data: bytes) -> Script:
    def script(connection: socket.socket) -> None:
        connection.sendall(data)
        # A reset discards unread data, so the reader gets time to read it first.
        time.sleep(0.05)
        reset(connection)

    return script


def silent(connection: socket.socket) -> None:
    """Send nothing until the client disconnects."""
    connection.recv(1)


def endless(head: bytes, block: bytes, seconds_between: float = 0) -> Script:
    """Repeat `block` while the client reads, but for 20 seconds at most, so that a defect cannot hang the test."""

    def script(connection: socket.socket) -> None:
        connection.sendall(head)
        give_up = time.monotonic() + 20
        while time.monotonic() < give_up:
            connection.sendall(block)
            time.sleep(seconds_between)

    return script


# The whole request arrives, and then the connection fails.

INTERRUPTED: dict[str, Script] = {
    "reset at once": reset,
    "reset in the status line": send_then_reset(b"HTTP/1.1 2"),
    "reset in the headers": send_then_reset(HEAD),
    "reset after the headers": send_then_reset(HEAD + b"Content-Length: 100\r\n\r\n"),
    "reset in the body": send_then_reset(http_bytes(GOOD[:-9], length=len(GOOD))),
    "reset in a chunk": send_then_reset(CHUNKED + b"ff\r\n" + GOOD[:50]),
    "closed without a response": raw(b"", then_close=True),
    "closed in the status line": raw(b"HTTP/1.1 2", then_close=True),
    "closed after the headers": raw(HEAD + b"Content-Length: 100\r\n\r\n", then_close=True),
    "half a response": half(success(1)),
    "half an error": half(error_response(1002)),
    "all but one byte": raw(http_bytes(GOOD[:-1], length=len(GOOD)), then_close=True),
    "half a chunk": raw(CHUNKED + b"ff\r\n" + GOOD[:50], then_close=True),
    "no last chunk": raw(CHUNKED + f"{len(GOOD):x}\r\n".encode() + GOOD + b"\r\n", then_close=True),
    "a chunk without a size": raw(CHUNKED + b"many\r\n" + GOOD, then_close=True),
    "a negative chunk": raw(CHUNKED + b"-5\r\n" + GOOD, then_close=True),
    "a chunk of all that comes": endless(CHUNKED + b"-1\r\n", b" " * 65536),
    "a chunk's size that never ends": endless(CHUNKED, b"0" * 65536),
    "no HTTP": raw(b"hello?\r\n\r\n", then_close=True),
    "HTTP/2": raw(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00", then_close=True),
    "HTTP/0.9": raw(GOOD, then_close=True),
    "a bad status": raw(b"HTTP/1.1 twohundred OK\r\n\r\n", then_close=True),
    "status 0": raw(b"HTTP/1.1 000 Nothing\r\n\r\n", then_close=True),
    "an unknown version": raw(b"HTTP/7.0 200 OK\r\n\r\n" + GOOD, then_close=True),
    "a huge header": endless(HEAD + b"X: ", b"x" * 65536),
    "a huge status line": endless(b"HTTP/1.1 200 ", b"x" * 65536),
    "a thousand headers": raw(HEAD + b"X: y\r\n" * 1000 + b"\r\n", then_close=True),
    "two lengths": raw(HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n" + GOOD, then_close=True),
    "gzip that is none": respond(GOOD, headers={"Content-Encoding": "gzip"}),
    "gzip a thousand times": respond(GOOD, headers={"Content-Encoding": "gzip, " * 1000 + "gzip"}),
    "gzip cut short": raw(http_bytes(gzip.compress(GOOD)[:20], headers={"Content-Encoding": "gzip"}), then_close=True),
}


@pytest.mark.parametrize("script", INTERRUPTED.values(), ids=INTERRUPTED)
def test_a_broken_response_is_502_and_the_request_is_not_repeated(
    make_client: MakeClient, upstream: FakeMinimax, script: Script
) -> None:
    upstream.script = script
    for calls, endpoint in enumerate(ENDPOINTS, 1):
        response = generate(make_client(), endpoint)
        # Truncated gzip and truncated headers can also be read as a response that is not JSON, with the same status.
        code = response.json["error"]["code"] if response.json else None
        assert code in ("upstream_interrupted", "upstream_invalid_answer")
        assert_error(response, 502, code)
        assert len(upstream.received) == calls


def test_an_interrupted_call_says_that_it_may_be_charged(client: FlaskClient, upstream: FakeMinimax) -> None:
    upstream.script = reset
    assert "may have been generated, and charged to the gateway" in assert_error(
        generate(client), 502, "upstream_interrupted"
    )


def test_the_trace_id_of_half_a_response_is_returned(client: FlaskClient, upstream: FakeMinimax) -> None:
    upstream.script = raw(http_bytes(GOOD[:9], length=len(GOOD), headers={"Trace-Id": "t-1"}), then_close=True)
    response = generate(client)
    assert_error(response, 502, "upstream_interrupted")
    assert response.headers["x-minimax-trace-id"] == "t-1"


def test_the_call_after_a_broken_one_succeeds(client: FlaskClient, upstream: FakeMinimax) -> None:
    for script in (half(success(1)), reset, raw(b"hello?\r\n\r\n", then_close=True)):
        upstream.script = in_turn(script, respond(success(1)))
        assert generate(client).status_code == 502
        assert generate(client).status_code == 200
    assert len(upstream.received) == 6


# The deadline.

TOO_SLOW: dict[str, Script] = {
    "silent": silent,
    "silent after the headers": raw(HEAD + b"Content-Length: 9\r\n\r\n"),
    "silent in the body": raw(http_bytes(GOOD[:-1], length=len(GOOD))),
    "silent in a chunk": raw(CHUNKED + b"ff\r\n{"),
    "dripping headers": drip(HEAD + b"X: " + b"x" * 5000, seconds_between=0.02),
    "dripping body": drip(http_bytes(GOOD.ljust(5000)), seconds_between=0.02),
    "dripping chunks": endless(CHUNKED, b"1\r\n \r\n", 0.02),
    "endless 100": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.02),
    "endless 103": endless(b"", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", 0.02),
    "endless trailers": endless(CHUNKED + b"0\r\n", b"X: y\r\n", 0.02),
    "switching protocols": raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n"),
}


@pytest.mark.parametrize("script", TOO_SLOW.values(), ids=TOO_SLOW)
def test_no_response_outlives_the_deadline(make_client: MakeClient, upstream: FakeMinimax, script: Script) -> None:
    upstream.script = script
    message = assert_error(generate(make_client(minimax_timeout_seconds=DEADLINE_SECONDS)), 502, "upstream_deadline")
    assert "may have been generated, and charged to the gateway" in message
    assert len(upstream.received) == 1


def test_a_slow_response_within_the_deadline_is_read(make_client: MakeClient, upstream: FakeMinimax) -> None:
    upstream.script = drip(http_bytes(GOOD), seconds_between=0.001)
    assert generate(make_client(minimax_timeout_seconds=60.0)).status_code == 200


def test_each_call_has_a_deadline_of_its_own(make_client: MakeClient, upstream: FakeMinimax) -> None:
    client = make_client(minimax_timeout_seconds=2.0)
    upstream.script = respond(success(1), after=0.6)
    assert [generate(client).status_code for _ in range(4)] == [200] * 4


def test_a_slow_reader_ends_at_the_deadline(make_client: MakeClient) -> None:
    def read_slowly(connection: Connection) -> None:
        while connection.read(4096):
            time.sleep(0.02)

    image = data_url(JPEG.ljust(6 * 1024 * 1024, b"\0"))
    reference = [{"type": "character", "image_file": image}]
    with listening(read_slowly, receive_buffer=4096) as listener:
        client = make_client(minimax_base_url=listener.url(), minimax_timeout_seconds=DEADLINE_SECONDS)
        assert_error(generate(client, subject_reference=reference), 502, "upstream_deadline")
        assert (listener.connections, len(listener.received) < len(image)) == (1, True)


# Too large.


def test_a_response_may_have_128_mb() -> None:
    assert minimax_client.MAX_RESPONSE_BYTES == 128 * 1024 * 1024


MAX_BYTES = 100_000
TOO_LARGE: dict[str, Script] = {
    "by its length": respond(GOOD.ljust(MAX_BYTES + 1)),
    "without an end": endless(HEAD + b"\r\n", b" " * 65536),
    "chunks without an end": endless(CHUNKED, b"10000\r\n" + b" " * 65536 + b"\r\n"),
    "gzip that grows": respond(gzip.compress(b" " * 50_000_000), headers={"Content-Encoding": "gzip"}),
    "gzip without an end": endless(HEAD + b"Content-Encoding: gzip\r\n\r\n", gzip.compress(b" " * 1_000_000)),
    "a redirect without an end": endless(
        b"HTTP/1.1 302 Found\r\nLocation: /\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"10000\r\n" + b" " * 65536 + b"\r\n",
    ),
    "an error without an end": endless(
        b"HTTP/1.1 500 Broken\r\nTransfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b" " * 65536 + b"\r\n"
    ),
}


@pytest.mark.parametrize("script", TOO_LARGE.values(), ids=TOO_LARGE)
def test_a_response_that_is_too_large_is_not_read_to_its_end(
    make_client: MakeClient, upstream: FakeMinimax, monkeypatch: pytest.MonkeyPatch, script: Script
) -> None:
    monkeypatch.setattr(minimax_client, "MAX_RESPONSE_BYTES", MAX_BYTES)
    upstream.script = in_turn(script, respond(success(1)))
    client = make_client(minimax_timeout_seconds=30.0)
    message = assert_error(generate(client), 502, "upstream_invalid_answer")
    assert message == f"MiniMax's response was not understood (longer than {MAX_BYTES} bytes)."
    assert generate(client).status_code == 200
    assert len(upstream.received) == 2


def test_a_response_of_the_maximum_size_is_read(
    client: FlaskClient, upstream: FakeMinimax, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(minimax_client, "MAX_RESPONSE_BYTES", MAX_BYTES)
    upstream.script = respond(GOOD.ljust(MAX_BYTES))
    assert generate(client).status_code == 200


# Unusual but valid responses.

READABLE: dict[str, Script] = {
    "chunked": raw(CHUNKED + b"".join(b"1\r\n%c\r\n" % byte for byte in GOOD) + b"0\r\n\r\n"),
    "gzip, unasked": respond(gzip.compress(GOOD), headers={"Content-Encoding": "gzip"}),
    "100 before it": raw(b"HTTP/1.1 100 Continue\r\n\r\n" + http_bytes(GOOD)),
    "hints before it": raw(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 3 + http_bytes(GOOD)),
    "every interim status": raw(b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 102 P\r\n\r\nHTTP/1.1 199\r\n\r\n" + http_bytes(GOOD)),
    "as text": respond(success(1), headers={"Content-Type": "text/plain; charset=utf-16; =;\"'"}),
    "as UTF-16": respond(GOOD.decode().encode("utf-16")),
    "with a byte order mark": respond(b"\xef\xbb\xbf" + GOOD),
    "with odd headers": respond(success(1), headers={"X-\xe4": "\xff\xfe", "Set-Cookie": "=;;=", "Retry-After": "x"}),
    "lines without CR": raw(HEAD.replace(b"\r", b"") + f"Content-Length: {len(GOOD)}\n\n".encode() + GOOD),
}


@pytest.mark.parametrize("script", READABLE.values(), ids=READABLE)
def test_an_unusual_response_is_read(client: FlaskClient, upstream: FakeMinimax, script: Script) -> None:
    upstream.script = script
    assert generate(client).status_code == 200
    assert len(upstream.received) == 1


@pytest.mark.parametrize("interim", [102, 103])
def test_a_response_after_interim_responses_reaches_its_own_caller(
    client: FlaskClient, upstream: FakeMinimax, interim: int
) -> None:
    """Otherwise the next caller on the connection would get these images."""
    late = threading.Event()

    def hint_first(connection: socket.socket) -> None:
        connection.sendall(f"HTTP/1.1 {interim} Wait\r\nLink: </x>\r\n\r\n".encode())
        late.wait(0.2)
        connection.sendall(http_bytes(GOOD))

    upstream.script = in_turn(hint_first, respond(error_response(1026)))
    assert generate(client).status_code == 200
    assert_error(generate(client), 403, "1026")


# Nothing was sent.


@pytest.fixture
def connects(monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """Exceptions that the first connection attempts raise; `attempts()` counts all attempts."""
    failing: list[Exception] = []
    connect = socket.socket.connect

    def counting(self: socket.socket, address: Any) -> None:
        counting_calls.append(address)
        if failing:
            raise failing.pop(0)
        connect(self, address)

    counting_calls: list[Any] = []
    monkeypatch.setattr(socket.socket, "connect", counting)
    monkeypatch.setattr(socket.socket, "attempts", counting_calls, raising=False)
    return failing


def attempts() -> int:
    return len(socket.socket.attempts)  # type: ignore[attr-defined]


def assert_unreachable(client: FlaskClient, endpoint: str = "generations") -> None:
    response = generate(client, endpoint)
    message = assert_error(response, 503, "upstream_unreachable", retry=True)
    assert message == "MiniMax could not be reached; nothing was sent."
    assert response.headers["Retry-After"] == "5"


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_refused_connection_is_tried_three_times_and_may_be_retried(
    make_client: MakeClient, connects: list[Exception], endpoint: str
) -> None:
    with refusing_port() as url:
        assert_unreachable(make_client(minimax_base_url=url), endpoint)
    assert attempts() == 3


@pytest.mark.parametrize("failure", [TimeoutError(), OSError(101, "Network is unreachable"), ConnectionResetError()])
def test_a_failed_connection_is_tried_three_times(
    make_client: MakeClient, upstream: FakeMinimax, connects: list[Exception], failure: Exception
) -> None:
    connects += [failure] * 3
    assert_unreachable(make_client())
    assert (attempts(), upstream.received) == (3, [])


def test_a_connection_that_fails_twice_sends_one_request(
    make_client: MakeClient, upstream: FakeMinimax, connects: list[Exception]
) -> None:
    connects += [ConnectionRefusedError(), TimeoutError()]
    assert generate(make_client()).status_code == 200
    assert (attempts(), len(upstream.received)) == (3, 1)


def test_an_unknown_host(make_client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert_unreachable(make_client(minimax_base_url="http://minimax.invalid"))


def test_connecting_ends_at_the_deadline(make_client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """An attempt gets no more than the time left, and none begins when no time is left."""
    granted = []

    def hang(self: socket.socket, address: Any) -> None:
        granted.append(self.gettimeout() or 1e9)
        time.sleep(min(granted[-1], 10))
        raise TimeoutError

    client = make_client(minimax_timeout_seconds=DEADLINE_SECONDS)
    monkeypatch.setattr(socket.socket, "connect", hang)
    assert_unreachable(client)
    assert len(granted) == 1
    assert granted[0] <= DEADLINE_SECONDS


def test_each_connection_attempt_gets_five_seconds(make_client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    granted = []

    def give_up(self: socket.socket, address: Any) -> None:
        granted.append(self.gettimeout())
        raise TimeoutError

    client = make_client(minimax_timeout_seconds=180.0)
    monkeypatch.setattr(socket.socket, "connect", give_up)
    assert_unreachable(client)
    assert granted == [5.0, 5.0, 5.0]


@pytest.mark.parametrize("hang_up", [socket.socket.close, reset], ids=["closed", "reset"])
def test_a_connection_closed_before_the_request_was_read_counts_as_sent(
    make_client: MakeClient, hang_up: Callable[[socket.socket], None]
) -> None:
    """The kernel has accepted the request, so MiniMax may have seen it."""

    def wait_and_hang_up(connection: Connection) -> None:
        connection.socket.recv(1, socket.MSG_PEEK)
        hang_up(connection.socket)

    with listening(wait_and_hang_up) as listener:
        assert_error(generate(make_client(minimax_base_url=listener.url())), 502, "upstream_interrupted")
        assert listener.connections == 1


# Kept connections.


def test_connections_are_kept_alive(client: FlaskClient, upstream: FakeMinimax) -> None:
    upstream.script = in_turn(
        respond(success(1)), respond(error_response(1002)), respond(b"", status=500), respond(success(1))
    )
    assert [generate(client).status_code for _ in range(4)] == [200, 429, 502, 200]
    assert (upstream.connections, len(upstream.received)) == (1, 4)


def test_an_idle_connection_that_upstream_closed_is_replaced(client: FlaskClient, upstream: FakeMinimax) -> None:
    closed = threading.Event()

    def respond_and_close(connection: socket.socket) -> None:
        connection.sendall(http_bytes(GOOD))
        connection.shutdown(socket.SHUT_RDWR)
        closed.set()

    upstream.script = in_turn(respond_and_close, respond(success(1)))
    assert generate(client).status_code == 200
    assert closed.wait(10)
    assert generate(client).status_code == 200
    assert (upstream.connections, len(upstream.received)) == (2, 2)


def test_a_connection_with_connection_close_is_not_reused(client: FlaskClient, upstream: FakeMinimax) -> None:
    upstream.script = respond(success(1), headers={"Connection": "close"})
    assert [generate(client).status_code for _ in range(3)] == [200, 200, 200]
    assert (upstream.connections, len(upstream.received)) == (3, 3)


def test_a_request_on_a_kept_connection_that_is_reset_is_not_repeated(
    client: FlaskClient, upstream: FakeMinimax
) -> None:
    """Upstream closes as the second request arrives. It may have read it, so the request is not repeated."""
    upstream.script = in_turn(respond(success(1)), reset)
    assert generate(client).status_code == 200
    assert_error(generate(client), 502, "upstream_interrupted")
    assert (upstream.connections, len(upstream.received)) == (1, 2)


def test_a_request_that_is_reset_unread_is_not_repeated(make_client: MakeClient) -> None:
    def one_response(connection: Connection) -> None:
        connection.read_request()
        connection.socket.sendall(http_bytes(GOOD))
        connection.socket.recv(1, socket.MSG_PEEK)
        reset(connection.socket)

    with listening(one_response) as listener:
        client = make_client(minimax_base_url=listener.url())
        assert generate(client).status_code == 200
        assert_error(generate(client), 502, "upstream_interrupted")
        assert (listener.connections, listener.received.count(b"POST /v1/image_generation")) == (1, 1)


def test_each_thread_has_its_own_connection(upstream: FakeMinimax) -> None:
    upstream.script = respond(success(1), after=0.2)
    client = MinimaxClient(upstream.url, 30)
    payload = {"model": "image-01", "prompt": PROMPT, "n": 1, "response_format": "url"}
    threads = [threading.Thread(target=client.generate_images, args=(payload, UPSTREAM_KEY)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (upstream.connections, len(upstream.received)) == (8, 8)


# What is sent, and what is ignored.


def test_the_exact_request_line_headers_and_body(make_client: MakeClient, upstream: FakeMinimax) -> None:
    assert generate(make_client(minimax_base_url=f"{upstream.url}/behind/a/proxy")).status_code == 200
    (received,) = upstream.received
    assert received.line == "POST /behind/a/proxy/v1/image_generation HTTP/1.1"
    assert received.headers["authorization"] == f"Bearer {UPSTREAM_KEY}"
    assert received.headers["content-type"] == "application/json"
    assert received.headers["accept-encoding"] == "identity"
    assert received.json == {"model": "image-01", "prompt": PROMPT, "n": 1, "response_format": "url"}
    assert set(received.headers) <= {
        *("host", "user-agent", "accept", "accept-encoding", "connection"),
        *("content-type", "content-length", "authorization"),
    }


def test_no_header_of_the_caller_is_sent_upstream(client: FlaskClient, upstream: FakeMinimax) -> None:
    headers = {"Cookie": "a=b", "x-request-id": "mine-1", "OpenAI-Organization": "org", "X-Forwarded-For": "192.0.2.1"}
    document = {"model": MODEL, "prompt": PROMPT}
    assert client.post("/v1/images/generations", json=document, headers=headers).status_code == 200
    (received,) = upstream.received
    assert not {"cookie", "x-request-id", "openai-organization", "x-forwarded-for"} & set(received.headers)


def test_cookies_are_not_sent_back(client: FlaskClient, upstream: FakeMinimax) -> None:
    upstream.script = respond(success(1), headers={"Set-Cookie": "acw_tc=0a1b; path=/; HttpOnly; Max-Age=1800"})
    assert [generate(client).status_code for _ in range(2)] == [200, 200]
    assert ["cookie" in received.headers for received in upstream.received] == [False, False]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(client: FlaskClient, upstream: FakeMinimax, status: int) -> None:
    upstream.script = in_turn(
        respond(b"", status=status, headers={"Location": f"{upstream.url}/v1/image_generation"}), respond(success(1))
    )
    assert_error(generate(client), 502, "upstream_invalid_answer")
    assert len(upstream.received) == 1


@pytest.mark.parametrize("status", [408, 413, 429, 500, 502, 503, 504])
def test_no_status_makes_the_gateway_repeat_the_request(
    client: FlaskClient, upstream: FakeMinimax, status: int
) -> None:
    upstream.script = respond(b"", status=status, headers={"Retry-After": "1"})
    assert_error(
        generate(client),
        429 if status == 429 else 502,
        "upstream_rate_limited" if status == 429 else "upstream_invalid_answer",
    )
    assert len(upstream.received) == 1


def test_proxy_variables_and_netrc_are_ignored(
    make_client: MakeClient, upstream: FakeMinimax, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password elses\ndefault login someone password elses\n")
    netrc.chmod(0o600)
    with refusing_port() as nowhere:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, nowhere)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("NETRC", os.fspath(netrc))
        assert generate(make_client()).status_code == 200
    assert upstream.received[0].headers["authorization"] == f"Bearer {UPSTREAM_KEY}"


def test_no_log_line_of_the_http_library_holds_a_secret(
    make_client: MakeClient, upstream: FakeMinimax, connects: list[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    connects.append(ConnectionRefusedError())
    for script in (respond(success(1)), half(success(1)), reset, respond(b"", status=302, headers={"Location": "/x"})):
        upstream.script = script
        generate(make_client(), "edits")
    assert "image_generation" in caplog.text
    for secret in (UPSTREAM_KEY, PROMPT, "base64,", "images.example"):
        assert secret not in caplog.text


def test_a_failure_has_its_cause_and_duration(upstream: FakeMinimax) -> None:
    upstream.script = half(success(1))
    with pytest.raises(MinimaxError) as caught:
        MinimaxClient(upstream.url, 30).generate_images({"prompt": PROMPT, "response_format": "url"}, UPSTREAM_KEY)
    assert caught.value.__cause__ is not None
    assert caught.value.upstream_ms is not None
