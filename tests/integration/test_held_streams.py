"""Streams, and callers that wait for a task, are held by the hundred: heartbeats arrive, and waiting costs little."""

from __future__ import annotations

import base64
import json
from contextlib import ExitStack
from pathlib import Path

from tests.integration.process_metrics import memory, processes_of, wait_until_idle
from tests.integration.raw_http import (
    FAST,
    GENERATIONS,
    MODEL,
    Caller,
    Reply,
    ask,
    generation,
    head,
    holding_upstream,
    post,
    success_of,
)
from tests.support import processes
from tests.support.images import JPEG
from tests.support.processes import Served

CALLERS = 400
HEARTBEAT = b": waiting\n"
TIMES = {"AMUX_STREAM_HEAD_SECONDS": "1", "AMUX_STREAM_HEARTBEAT_SECONDS": "1"}
# Measured with a thousand: 57 KB a stream, 34 KB a caller that waits for a task. Collecting garbage late adds to both.
MAX_STREAM_BYTES = 90 * 1024
MAX_WAITER_BYTES = 60 * 1024


def image(_prompt: str) -> bytes:
    return json.dumps(success_of(image_base64=[base64.b64encode(JPEG).decode()])).encode()


def stream() -> bytes:
    return post({"model": MODEL, "prompt": "held", "stream": True})


def begin_task(gateway: Served) -> str:
    reply = ask(gateway.url, post({"model": MODEL, "prompt": "held"}, path=f"{GENERATIONS}/async"))
    assert reply.status == 202
    return str(reply.json["id"])


def heartbeats(caller: Caller, count: int) -> bytes:
    """What is received up to this many heartbeats."""
    data = b""
    while data.count(HEARTBEAT) < count:
        data += (received := caller.socket.recv(65536))
        assert received, data
    return data


def test_streams_get_heartbeats_and_their_images(tmp_path: Path) -> None:
    with (
        holding_upstream(image) as upstream,
        processes.gateway(tmp_path, upstream.url, **TIMES) as gateway,
        ExitStack() as stack,
    ):
        for _ in range(20):
            assert ask(gateway.url, post({"model": MODEL, "prompt": FAST, "stream": True})).status == 200
        pids = processes_of(gateway)
        before, arrived = memory(pids), len(upstream.arrived)
        callers = [stack.enter_context(Caller(gateway.url)) for _ in range(CALLERS)]
        for caller in callers:
            caller.send(stream())
        upstream.wait_for(arrived + CALLERS)
        first = [heartbeats(caller, 2) for caller in callers]
        assert (memory(pids) - before) / CALLERS <= MAX_STREAM_BYTES

        upstream.release.set()
        for caller, data in zip(callers, first, strict=True):
            assert data.startswith(b"HTTP/1.1 200 ")
            while not data.endswith(b"0\r\n\r\n"):
                data += (received := caller.socket.recv(65536))
                assert received, data
            assert data.count(b"event: image_generation.completed") == 1
        wait_until_idle(gateway)


def test_callers_wait_for_one_task(tmp_path: Path) -> None:
    with (
        holding_upstream() as upstream,
        processes.gateway(tmp_path, upstream.url) as gateway,
        ExitStack() as stack,
    ):
        for _ in range(20):
            assert ask(gateway.url, generation(FAST)).status == 200
        task = begin_task(gateway)
        upstream.wait_for(21)
        path = f"/v1/images/tasks/{task}"
        for _ in range(20):
            assert ask(gateway.url, head("GET", path), "GET").json["status"] == "in_progress"
        pids = processes_of(gateway)
        before = memory(pids)
        callers = [stack.enter_context(Caller(gateway.url)) for _ in range(CALLERS)]
        for caller in callers:
            caller.send(head("GET", f"{path}?wait=50"))
        assert ask(gateway.url, head("GET", f"{path}?wait=2"), "GET").json["status"] == "in_progress"
        assert (memory(pids) - before) / CALLERS <= MAX_WAITER_BYTES

        upstream.release.set()
        replies: list[Reply] = [caller.reply("GET") for caller in callers]
        assert {reply.json["status"] for reply in replies} == {"completed"}
        assert len({reply.body for reply in replies}) == 1
    assert upstream.arrived.count("held") == 1
