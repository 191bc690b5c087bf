"""nginx's own errors have the gateway's JSON envelope, the request id and the right `x-should-retry`."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import openai
import pytest

from tests.integration.raw_http import (
    GENERATIONS,
    Caller,
    Reply,
    ask,
    children,
    generation,
    head,
    holding_upstream,
    json_lines,
    request_id,
)
from tests.sdk.test_node_sdk import FOLDER, GOOD, NODE, Sdk
from tests.support import processes
from tests.support.fake_minimax import FakeMinimax, start_fake_minimax
from tests.support.nginx import needs_nginx, nginx
from tests.support.processes import API_KEY, HOST, Served, free_port
from tests.support.waiting import wait_until

pytestmark = needs_nginx
MB = 1024 * 1024
LIMIT = 32 * MB
NEEDS_NODE = pytest.mark.skipif(
    not (NODE.exists() and (FOLDER / "node_modules" / "openai").is_dir()), reason="run scripts/install-test-tools"
)


@pytest.fixture
def instance() -> Iterator[FakeMinimax]:
    with start_fake_minimax() as server:
        yield server


def check(reply: Reply, sent: str, status: int, code: str, *, retry: bool) -> None:
    assert (reply.status, reply.error["code"], reply.error["param"]) == (status, code, None)
    assert reply.error["message"]
    assert reply.headers["x-request-id"] == sent
    assert reply.headers["x-should-retry"] == ("true" if retry else "false")
    assert reply.headers.get("retry-after") == ("2" if retry else None)


# 502


def test_a_call_of_a_killed_instance_may_have_drawn(tmp_path: Path) -> None:
    """The call is not repeated on the other instance."""
    with (
        holding_upstream() as upstream,
        processes.gateway(tmp_path, upstream.url, WEB_CONCURRENCY="1") as one,
        processes.gateway(tmp_path, upstream.url, WEB_CONCURRENCY="1") as two,
        nginx(tmp_path, one.url, two.url) as front,
        Caller(front.url) as caller,
    ):
        sent = request_id()
        caller.send(generation("once", f"x-request-id: {sent}"))
        upstream.wait_for(1)
        for gateway in (one, two):
            [worker] = children(gateway.process.pid)
            os.kill(worker, signal.SIGKILL)
        check(caller.reply(), sent, 502, "gateway_interrupted", retry=False)
        wait_until(lambda: ask(front.url, head("GET", "/readyz"), "GET").status == 200, "a new worker")
        assert upstream.arrived == ["once"]


def test_if_no_instance_is_reachable_nothing_was_sent(tmp_path: Path) -> None:
    with nginx(tmp_path, *[f"http://{HOST}:{free_port()}" for _ in range(3)]) as front:
        for _ in range(4):  # not only the first time
            sent = request_id()
            reply = ask(front.url, generation("a", f"x-request-id: {sent}"))
            check(reply, sent, 502, "gateway_unreachable", retry=True)
            assert "nothing was sent" in reply.error["message"]


def test_a_broken_call_after_a_skipped_instance_may_have_drawn(instance: FakeMinimax, tmp_path: Path) -> None:
    instance.script = lambda connection: connection.close()
    unreachable = f"http://{HOST}:{free_port()}"
    with nginx(tmp_path, unreachable, instance.url) as front:
        for number in range(1, 4):
            sent = request_id()
            reply = ask(front.url, generation("a", f"x-request-id: {sent}"))
            check(reply, sent, 502, "gateway_interrupted", retry=False)
            assert "may have been drawn" in reply.error["message"]
            assert len(instance.received) == number
        wait_until(lambda: len(json_lines(front.log)) == 3, "nginx's lines")
        assert any(", " in line["instance"] for line in json_lines(front.log)), "no instance was ever skipped"


# 504


def test_a_call_that_times_out_may_have_drawn(tmp_path: Path) -> None:
    changes = {"proxy_read_timeout 240s;": "proxy_read_timeout 1s;"}
    with (
        holding_upstream() as upstream,
        processes.gateway(tmp_path, upstream.url) as gateway,
        nginx(tmp_path, gateway.url, changes=changes) as front,
    ):
        sent = request_id()
        reply = ask(front.url, generation("slow", f"x-request-id: {sent}"))
        check(reply, sent, 504, "gateway_timeout", retry=False)
        assert "may have been drawn" in reply.error["message"]
        assert upstream.arrived == ["slow"]
        upstream.release.set()


def test_if_connecting_times_out_nothing_was_sent(tmp_path: Path) -> None:
    changes = {"proxy_connect_timeout 3s;": "proxy_connect_timeout 1s;"}
    with ExitStack() as stack:
        deaf = stack.enter_context(socket.create_server((HOST, 0), backlog=0))
        for _ in range(3):  # its queue is full
            knocking = stack.enter_context(socket.socket())
            knocking.setblocking(False)
            knocking.connect_ex(deaf.getsockname())
        url = f"http://{HOST}:{deaf.getsockname()[1]}"
        front = stack.enter_context(nginx(tmp_path, url, changes=changes))
        sent = request_id()
        reply = ask(front.url, generation("a", f"x-request-id: {sent}"))
        check(reply, sent, 504, "gateway_unreachable", retry=True)
        assert "nothing was sent" in reply.error["message"]


# 503


def test_a_call_above_nginxs_limit_was_not_sent(instance: FakeMinimax, tmp_path: Path) -> None:
    """The limit is one that an operator may add."""
    changes = {
        "upstream amux {": "limit_req_zone all zone=all:64k rate=1r/m;\nupstream amux {",
        "proxy_pass http://amux;": "limit_req zone=all;\nproxy_pass http://amux;",
    }
    with nginx(tmp_path, instance.url, changes=changes) as front:
        assert ask(front.url, generation("a")).status == 200
        sent = request_id()
        check(ask(front.url, generation("b", f"x-request-id: {sent}")), sent, 503, "gateway_full", retry=True)
    assert len(instance.received) == 1


def test_the_gateways_own_503_is_passed_on_unchanged(tmp_path: Path) -> None:
    with (
        holding_upstream() as upstream,
        processes.gateway(tmp_path, upstream.url, WEB_CONCURRENCY="1", AMUX_MAX_CALLS="1") as gateway,
        nginx(tmp_path, gateway.url) as front,
        Caller(front.url) as held,
    ):
        held.send(generation("held"))
        upstream.wait_for(1)
        sent = request_id()
        data = generation("refused", f"x-request-id: {sent}")
        through, direct = ask(front.url, data), ask(gateway.url, data)
        check(through, sent, 503, "gateway_full", retry=True)
        assert through.json == direct.json
        upstream.release.set()
        assert held.reply().status == 200


# 413


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_too_large_a_body_gets_its_response_during_the_upload(
    instance: FakeMinimax, tmp_path: Path, framing: str
) -> None:
    sent, part = request_id(), b"a" * MB
    with nginx(tmp_path, instance.url) as front, Caller(front.url) as caller:
        how = "Transfer-Encoding: chunked" if framing == "chunked" else f"Content-Length: {LIMIT + 8 * MB}"
        caller.send(head("POST", GENERATIONS, "Content-Type: application/json", how, f"x-request-id: {sent}"))
        for _ in range(LIMIT // MB + 8):
            caller.send(b"%x\r\n%b\r\n" % (len(part), part) if framing == "chunked" else part)
        check(caller.reply(), sent, 413, "request_entity_too_large", retry=False)
    assert instance.connections == 0


@NEEDS_NODE
@pytest.mark.parametrize("case", ["editBuffer", "editStream"])
def test_node_uploads_too_large_a_file_once(instance: FakeMinimax, tmp_path: Path, case: str) -> None:
    file = tmp_path / "large.jpg"
    file.write_bytes(b"a" * (LIMIT + 8 * MB))
    with nginx(tmp_path, instance.url) as front:
        outcome = Sdk(front).call(case, fields=GOOD, paths=[str(file)])
        check_sdk(front, outcome.error and (outcome.error.status, outcome.error.code), outcome.request_id)


def test_python_uploads_too_large_a_file_once(instance: FakeMinimax, tmp_path: Path) -> None:
    with nginx(tmp_path, instance.url) as front, openai.OpenAI(base_url=f"{front.url}/v1", api_key=API_KEY) as client:
        with pytest.raises(openai.APIStatusError) as caught:
            client.images.edit(model=GOOD["model"], prompt=GOOD["prompt"], image=b"a" * (LIMIT + 8 * MB))
        check_sdk(front, (caught.value.status_code, caught.value.code), caught.value.request_id)


def check_sdk(front: Served, reported: object, reported_id: str | None) -> None:
    """The SDK reported the 413 and sent one request."""
    assert reported == (413, "request_entity_too_large")
    wait_until(lambda: front.log.read_text() != "", "nginx's line")
    [line] = json_lines(front.log)
    assert (line["status"], line["request_id"]) == ("413", reported_id)


# Malformed requests

NO_REQUESTS: dict[str, tuple[int, str, bytes]] = {
    "no request line": (400, "bad_request", b"nonsense\r\n\r\n"),
    "no host": (400, "bad_request", b"GET / HTTP/1.1\r\n\r\n"),
    "bad escape": (400, "bad_request", head("GET", "/%zz")),
    "two lengths": (400, "bad_request", head("POST", GENERATIONS, "Content-Length: 1", "Content-Length: 2")),
    "long line": (414, "uri_too_long", head("GET", "/" + "a" * 9000)),
    "long header": (431, "request_header_fields_too_large", head("GET", "/healthz", "X: " + "a" * 9000)),
    "unknown coding": (501, "not_implemented", head("POST", GENERATIONS, "Transfer-Encoding: gzip")),
    "unknown version": (505, "http_version_not_supported", head("GET", "/", version="HTTP/3.0")),
    "trace": (405, "method_not_allowed", head("TRACE", "/")),
    "nginx's own path": (404, "not_found", head("GET", "/nginx-error")),
}


@pytest.mark.parametrize("case", NO_REQUESTS)
def test_a_malformed_request_gets_the_error_envelope(instance: FakeMinimax, tmp_path: Path, case: str) -> None:
    status, code, data = NO_REQUESTS[case]
    with nginx(tmp_path, instance.url) as front:
        reply = ask(front.url, data, "GET")
        check(reply, reply.headers["x-request-id"], status, code, retry=False)
        wait_until(lambda: front.log.read_text() != "", "nginx's line")
        assert [line["request_id"] for line in json_lines(front.log)] == [reply.headers["x-request-id"]]
    assert instance.received == []


def test_an_error_of_a_head_request_has_no_body(tmp_path: Path) -> None:
    with nginx(tmp_path, f"http://{HOST}:{free_port()}") as front, Caller(front.url) as caller:
        reply = caller.send(head("HEAD", "/healthz")).reply("HEAD")
        assert (reply.status, reply.body, reply.headers["x-should-retry"]) == (502, b"", "true")
