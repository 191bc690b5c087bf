"""Plain `gunicorn wsgi:app` holds many slow calls at once, and still has a moment for everybody else."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.served.wire import (
    GENERATIONS,
    MODEL,
    Caller,
    generation,
    head,
    health,
    holding_upstream,
    picture_url,
    request_id,
)
from tests.support import processes
from tests.support.pictures import JPEG
from tests.support.processes import HOST, free_port, procfile_command, serve

CALLS = 200
EDITS = "/v1/images/edits"


def edit(prompt: str, *lines: str) -> bytes:
    """A multipart request with a picture."""
    parts = [
        b'--line\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (name.encode(), value.encode())
        for name, value in (("model", MODEL), ("prompt", prompt))
    ]
    file = b'--line\r\nContent-Disposition: form-data; name="image"; filename="face.jpg"\r\n\r\n' + JPEG + b"\r\n"
    body = b"".join(parts) + file + b"--line--\r\n"
    more = ("Content-Type: multipart/form-data; boundary=line", f"Content-Length: {len(body)}")
    return head("POST", EDITS, *more, *lines) + body


def test_the_procfile_is_plain_gunicorn() -> None:
    assert procfile_command("web") == "gunicorn wsgi:app"


def test_two_workers_hold_200_calls_in_one_wave_and_mix_none_up(tmp_path: Path) -> None:
    """MiniMax answers nobody until all of them are there; health checks are answered meanwhile."""
    with (
        holding_upstream() as upstream,
        processes.gateway(tmp_path, upstream.url, WEB_CONCURRENCY="2") as gateway,
        ExitStack() as stack,
    ):
        callers = [stack.enter_context(Caller(gateway.url)) for _ in range(CALLS)]
        ids = [request_id() for _ in callers]
        for number, caller in enumerate(callers):
            make = edit if number % 2 else generation
            caller.send(make(f"picture {number}", f"x-request-id: {ids[number]}"))
        upstream.wait_for(CALLS)
        for _ in range(5):
            assert health(gateway.url, "/healthz") == 200
            assert health(gateway.url, "/readyz") == 200

        upstream.release.set()
        for number, caller in enumerate(callers):
            reply = caller.reply()
            assert reply.status == 200
            assert reply.json["data"] == [{"url": picture_url(f"picture {number}")}]
            assert reply.headers["x-request-id"] == ids[number]
    assert sorted(upstream.arrived) == sorted(f"picture {number}" for number in range(CALLS))


def test_a_full_gateway_says_so_at_once_and_is_still_healthy(tmp_path: Path) -> None:
    with (
        holding_upstream() as upstream,
        processes.gateway(tmp_path, upstream.url, WEB_CONCURRENCY="1", AMUX_MAX_CALLS="1") as gateway,
        Caller(gateway.url) as held,
        Caller(gateway.url) as refused,
    ):
        held.send(generation("held"))
        upstream.wait_for(1)
        reply = refused.send(generation("refused")).reply()
        assert (reply.status, reply.error["code"]) == (503, "gateway_full")
        assert reply.headers["x-should-retry"] == "true"
        assert reply.headers["retry-after"] == "2"
        assert health(gateway.url, "/readyz") == 200
        upstream.release.set()
        assert held.reply().status == 200
        assert refused.send(generation("again")).reply().status == 200
    assert upstream.arrived == ["held", "again"]


@pytest.mark.parametrize("last_words", [b"NONSENSE\r\n\r\n", head("GET", "/healthz", "Connection: close", key=None)])
def test_callers_that_never_hang_up_keep_nobody_waiting(tmp_path: Path, last_words: bytes) -> None:
    """gunicorn lingers for such a caller; it must not be the accepting thread that does."""
    with (
        holding_upstream() as upstream,
        processes.gateway(tmp_path, upstream.url, WEB_CONCURRENCY="1") as gateway,
        ExitStack() as stack,
    ):
        callers = [stack.enter_context(Caller(gateway.url)) for _ in range(60)]
        for caller in callers:
            caller.send(last_words)
        with Caller(gateway.url) as late:
            late.socket.settimeout(30)  # one linger is two seconds, and there are sixty
            assert late.send(head("GET", "/healthz", key=None)).reply("GET").status == 200
        for caller in callers:
            assert caller.reply("GET").status in (200, 400)


def test_uploaders_that_vanish_give_their_threads_back(tmp_path: Path) -> None:
    """More of them than there are threads, and none ever sends its last byte."""
    port = free_port()
    variables = {
        "PORT": str(port),
        "HOST": HOST,
        "WEB_CONCURRENCY": "1",
        "AMUX_MAX_CALLS": "1",
        "AMUX_TRANSFER_SECONDS": "1",
        "AMUX_API_KEYS": processes.API_KEY,
        "MINIMAX_API_KEY": processes.UPSTREAM_KEY,
    }
    command = "gunicorn --worker-class tests.served.workers.ImpatientWorker wsgi:app"
    with (
        serve(command, f"http://{HOST}:{port}", "/readyz", tmp_path / "log", variables) as gateway,
        ExitStack() as stack,
    ):
        unfinished = head("POST", GENERATIONS, "Content-Type: application/json", "Content-Length: 100") + b'{"model'
        for number in range(80):
            caller = stack.enter_context(Caller(gateway.url))
            caller.send(unfinished if number % 2 else b"POST /v1/images/gen")
        assert health(gateway.url) == 200
