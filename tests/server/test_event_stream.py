"""Event streams through the worker: head, heartbeats, late outcomes, and clients that leave or do not read."""

from __future__ import annotations

from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path

import pytest

from app.services.events import HEARTBEAT
from tests.integration.raw_http import Caller, ask, head
from tests.support import processes
from tests.support.processes import Served
from tests.support.waiting import wait_until

COMMAND = "gunicorn tests.support.stream_app:app"
BEATS = 8  # heartbeats of 0.2 s, which together take longer than the client timeout of 1 s
HELD = "/stream?held=1&images=2"


@pytest.fixture
def streams(tmp_path: Path) -> Iterator[Served]:
    variables = {"WEB_CONCURRENCY": "1", "AMUX_CLIENT_TIMEOUT_SECONDS": "1"}
    with processes.gateway(tmp_path, "http://upstream.invalid", COMMAND, **variables) as served:
        yield served


def post(path: str, version: str = "HTTP/1.1") -> bytes:
    return head("POST", path, "Content-Length: 0", version=version)


def begun(caller: Caller, path: str = HELD) -> HTTPResponse:
    response = HTTPResponse(caller.send(post(path)).socket, method="POST")
    response.begin()
    return response


def release(streams: Served) -> None:
    assert ask(streams.url, post("/release")).status == 200


def closed(streams: Served) -> int:
    return int(ask(streams.url, head("GET", "/closed"), "GET").json)


def names(stream: bytes) -> list[bytes]:
    return [line[7:] for line in stream.split(b"\n") if line.startswith(b"event: ")]


def test_an_outcome_in_time_is_a_stream_without_heartbeats(streams: Served) -> None:
    with Caller(streams.url) as caller:
        reply = caller.send(post("/stream?images=2&head=60")).reply()
        assert caller.send(head("GET", "/readyz")).reply("GET").status == 200
    assert (reply.status, names(reply.body)) == (200, [b"image_generation.completed"] * 2)
    assert HEARTBEAT not in reply.body
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert reply.headers["cache-control"] == "no-cache"
    assert reply.headers["x-accel-buffering"] == "no"
    assert reply.headers["transfer-encoding"] == "chunked"
    assert "content-length" not in reply.headers
    assert "x-request-id" in reply.headers


def test_an_error_in_time_has_its_own_status(streams: Served) -> None:
    reply = ask(streams.url, post("/stream?head=60"))
    assert (reply.status, reply.error["code"]) == (403, "1026")
    assert reply.headers["x-should-retry"] == "false"


def test_the_head_waits_for_an_outcome_that_comes_in_time(streams: Served) -> None:
    with Caller(streams.url) as caller:
        caller.send(post("/stream?held=1&head=60"))
        release(streams)
        assert caller.reply().status == 403


def test_a_late_success_follows_heartbeats_for_longer_than_the_client_timeout(streams: Served) -> None:
    with Caller(streams.url) as caller:
        response = begun(caller, f"{HELD}&heartbeat=0.2")
        assert response.status == 200
        assert [response.readline() for _ in range(BEATS)] == [HEARTBEAT] * BEATS
        release(streams)
        assert names(response.read()) == [b"image_generation.completed"] * 2
        response.close()
        assert caller.send(head("GET", "/readyz")).reply("GET").status == 200


def test_the_first_comment_comes_with_the_head_however_long_a_heartbeat_takes(streams: Served) -> None:
    with Caller(streams.url) as caller:
        response = begun(caller, f"{HELD}&heartbeat=3600")
        assert response.readline() == HEARTBEAT
        release(streams)
        assert names(response.read()) == [b"image_generation.completed"] * 2


def test_a_late_error_is_one_event(streams: Served) -> None:
    with Caller(streams.url) as caller:
        response = begun(caller, "/stream?held=1")
        assert (response.status, response.readline()) == (200, HEARTBEAT)
        release(streams)
        events = response.read().replace(HEARTBEAT, b"")
    assert events == (
        b'event: error\ndata: {"error":{"message":"The prompt was withheld.","type":"minimax_image_error",'
        b'"param":null,"code":"1026"}}\n\n'
    )


def test_http_1_0_gets_a_stream_that_ends_with_the_connection(streams: Served) -> None:
    with Caller(streams.url) as caller:
        response = HTTPResponse(caller.send(post(HELD, version="HTTP/1.0")).socket, method="POST")
        response.begin()
        assert response.getheader("transfer-encoding") is None
        assert response.readline() == HEARTBEAT
        release(streams)
        assert names(response.read()) == [b"image_generation.completed"] * 2


def test_an_abandoned_stream_ends_at_a_heartbeat(streams: Served) -> None:
    with Caller(streams.url) as caller:
        begun(caller).close()
        assert closed(streams) == 0
    wait_until(lambda: closed(streams) == 1, "the end of the stream, whose call still runs")
    assert "Traceback" not in streams.log.read_text()


def test_a_client_that_does_not_read_its_events_is_closed(streams: Served) -> None:
    with Caller(streams.url) as caller:
        caller.send(post("/stream?images=4&bytes=8000000"))
        wait_until(lambda: closed(streams) == 1, "the end of the stream")
    assert "Traceback" not in streams.log.read_text()
