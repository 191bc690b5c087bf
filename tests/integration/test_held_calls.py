"""Plain `gunicorn wsgi:app` holds many slow calls at once and still serves other requests."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.integration.process_metrics import in_flight, memory, processes_of, wait_until_idle
from tests.integration.raw_http import (
    FAST,
    GENERATIONS,
    Caller,
    ask,
    edit,
    generation,
    head,
    health,
    holding_upstream,
    image_url,
    request_id,
)
from tests.support import processes
from tests.support.processes import HOST, free_port, procfile_command, serve

CALLS = 1000


def test_the_procfile_runs_gunicorn_without_options() -> None:
    assert procfile_command("web") == "python serve.py wsgi:app"


def test_a_thousand_concurrent_calls_get_their_own_responses(tmp_path: Path) -> None:
    """MiniMax responds once all calls have arrived. Until then other requests are served, and waiting costs little."""
    with (
        holding_upstream() as upstream,
        processes.gateway(tmp_path, upstream.url) as gateway,
        enough_files(3 * CALLS),
        ExitStack() as stack,
    ):
        for _ in range(20):
            assert ask(gateway.url, generation(FAST)).status == 200
            assert ask(gateway.url, edit(FAST)).status == 200
        pids = processes_of(gateway)
        before = memory(pids)
        callers = [stack.enter_context(Caller(gateway.url)) for _ in range(CALLS)]
        ids = [request_id() for _ in callers]
        for number, caller in enumerate(callers):
            make = edit if number % 2 else generation
            caller.send(make(f"image {number}", f"x-request-id: {ids[number]}"))
        upstream.wait_for(40 + CALLS)
        assert (memory(pids) - before) / CALLS <= 80 * 1024
        assert in_flight(gateway) == CALLS
        for _ in range(5):
            assert health(gateway.url, "/healthz") == 200
            assert health(gateway.url, "/readyz") == 200
            assert ask(gateway.url, generation(FAST)).status == 200

        upstream.release.set()
        for number, caller in enumerate(callers):
            reply = caller.reply()
            assert reply.status == 200
            assert reply.json["data"] == [{"url": image_url(f"image {number}")}]
            assert reply.headers["x-request-id"] == ids[number]
        wait_until_idle(gateway)
    held = [prompt for prompt in upstream.arrived if prompt != FAST]
    assert sorted(held) == sorted(f"image {number}" for number in range(CALLS))


@contextmanager
def enough_files(count: int) -> Iterator[None]:
    """This process holds both ends of every call, so it needs twice as many open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        pytest.skip(f"this process may open {hard} files, and the test needs {count}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_full_gateway_responds_503_at_once_and_stays_healthy(tmp_path: Path) -> None:
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
def test_callers_that_never_disconnect_delay_nobody(tmp_path: Path, last_words: bytes) -> None:
    """gunicorn lingers for such a caller, which must not block the accepting thread."""
    with (
        holding_upstream() as upstream,
        processes.gateway(tmp_path, upstream.url, WEB_CONCURRENCY="1") as gateway,
        ExitStack() as stack,
    ):
        callers = [stack.enter_context(Caller(gateway.url)) for _ in range(60)]
        for caller in callers:
            caller.send(last_words)
        with Caller(gateway.url) as late:
            late.socket.settimeout(30)  # sixty lingering closes of two seconds each
            assert late.send(head("GET", "/healthz", key=None)).reply("GET").status == 200
        for caller in callers:
            assert caller.reply("GET").status in (200, 400)


def test_uploaders_that_vanish_release_their_threads(tmp_path: Path) -> None:
    """More uploaders than threads, and none sends its last byte."""
    port = free_port()
    variables = {
        "PORT": str(port),
        "HOST": HOST,
        "WEB_CONCURRENCY": "1",
        "AMUX_MAX_CALLS": "1",
        "AMUX_CLIENT_TIMEOUT_SECONDS": "1",
        "AMUX_API_KEYS": processes.API_KEY,
        "MINIMAX_API_KEY": processes.UPSTREAM_KEY,
    }
    command = "gunicorn --worker-class tests.server.workers.ShortTimeoutWorker wsgi:app"
    with (
        serve(command, f"http://{HOST}:{port}", "/readyz", tmp_path / "log", variables) as gateway,
        ExitStack() as stack,
    ):
        unfinished = head("POST", GENERATIONS, "Content-Type: application/json", "Content-Length: 100") + b'{"model'
        for number in range(80):
            caller = stack.enter_context(Caller(gateway.url))
            caller.send(unfinished if number % 2 else b"POST /v1/images/gen")
        assert health(gateway.url) == 200
