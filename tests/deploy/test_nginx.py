"""The shipped nginx.conf: request ids, retries, buffering of slow callers, headers and paths."""

from __future__ import annotations

import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import requests
import trustme

from tests.integration.raw_http import (
    GENERATIONS,
    MODEL,
    PATIENCE,
    Caller,
    ask,
    generation,
    head,
    holding_upstream,
    json_lines,
    only_line,
    post,
    request_id,
)
from tests.support import processes
from tests.support.fake_minimax import (
    FakeMinimax,
    Script,
    half,
    http_bytes,
    in_turn,
    reset,
    respond,
    start_fake_minimax,
    success,
)
from tests.support.nginx import configure, needs_nginx, nginx
from tests.support.processes import API_KEY, HOST, ROOT, Served, free_port
from tests.support.waiting import wait_until

pytestmark = needs_nginx
DOC = (ROOT / "docs" / "deploy.md").read_text()
MB = 1024 * 1024


@pytest.fixture(scope="module")
def fronted(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The gateway and its log, reached through nginx."""
    with nginx(tmp_path_factory.mktemp("front"), served.url) as front:
        yield replace(served, url=front.url)


@pytest.fixture
def instance() -> Iterator[FakeMinimax]:
    """A scripted instance."""
    with start_fake_minimax() as server:
        yield server


def test_nginx_accepts_the_file(tmp_path: Path) -> None:
    command = configure(tmp_path, f"{HOST}:{free_port()}", [f"{HOST}:{free_port()}"], {})
    done = subprocess.run([*command, "-t"], capture_output=True, text=True)
    log = (tmp_path / "error.log").read_text()
    assert done.returncode == 0, log
    assert "[warn]" not in done.stderr + log


# Request ids


@pytest.mark.parametrize("length", [40, 128])
def test_a_valid_request_id_is_passed_on(fronted: Served, length: int) -> None:
    sent = f"{request_id()}.B-9_".ljust(length, "x")[-length:]
    reply = ask(fronted.url, post({"model": MODEL, "prompt": "a"}, f"x-request-id: {sent}"))
    assert (reply.status, reply.headers["x-request-id"]) == (200, sent)
    assert only_line(fronted, sent)["status"] == 200


@pytest.mark.parametrize("sent", ["a b", "x" * 129, 'a"b', "é", "a/b", ""])
def test_an_invalid_request_id_is_replaced_in_the_response_and_both_logs(
    served: Served, tmp_path: Path, sent: str
) -> None:
    with nginx(tmp_path, served.url) as front:
        reply = ask(front.url, head("GET", "/v1/models", f"x-request-id: {sent}"), "GET")
        ours = reply.headers["x-request-id"]
        assert ours not in ("", sent)
        assert only_line(served, ours)["status"] == 200
        wait_until(lambda: [line["request_id"] for line in json_lines(front.log)] == [ours], "nginx's line")


def test_a_missing_request_id_is_generated_by_nginx(fronted: Served) -> None:
    reply = ask(fronted.url, head("GET", "/v1/models"), "GET")
    assert only_line(fronted, reply.headers["x-request-id"])["status"] == 200


# Retries


@pytest.mark.parametrize("fault", [reset, lambda connection: connection.close()], ids=["reset", "closed"])
def test_a_broken_post_is_not_sent_to_a_second_instance(tmp_path: Path, fault: Script) -> None:
    with start_fake_minimax() as one, start_fake_minimax() as two, nginx(tmp_path, one.url, two.url) as front:
        one.script = two.script = fault
        reply = ask(front.url, generation("a"))
        assert (reply.status, reply.error["code"]) == (502, "gateway_interrupted")
        assert reply.headers["x-should-retry"] == "false"
        assert len(one.received) + len(two.received) == 1


def test_a_post_that_times_out_is_not_sent_to_a_second_instance(tmp_path: Path) -> None:
    never = threading.Event()
    changes = {"proxy_read_timeout 240s;": "proxy_read_timeout 1s;"}

    def hold(_: socket.socket) -> None:
        never.wait(PATIENCE)

    with start_fake_minimax() as one, start_fake_minimax() as two, ExitStack() as stack:
        stack.callback(never.set)
        one.script = two.script = hold
        front = stack.enter_context(nginx(tmp_path, one.url, two.url, changes=changes))
        reply = ask(front.url, generation("a"))
        assert (reply.status, reply.error["code"]) == (504, "gateway_timeout")
        assert len(one.received) + len(two.received) == 1


def test_a_post_on_a_reused_connection_is_not_sent_again(tmp_path: Path) -> None:
    """nginx repeats requests on reused connections if proxy_next_upstream allows it."""
    with (
        start_fake_minimax() as one,
        nginx(tmp_path, one.url, one.url) as front,
        Caller(front.url) as caller,  # one connection, so one nginx process, which reuses its own connection
    ):
        one.script = in_turn(respond(success()), reset)
        assert caller.send(generation("a")).reply().status == 200
        reply = caller.send(generation("b")).reply()
        assert (reply.status, reply.headers["x-should-retry"]) == (502, "false")
        assert (len(one.received), one.connections) == (2, 1)


def test_an_unreachable_instance_is_skipped(instance: FakeMinimax, tmp_path: Path) -> None:
    unreachable = f"http://{HOST}:{free_port()}"
    with nginx(tmp_path, unreachable, instance.url, unreachable) as front:
        for _ in range(9):
            assert ask(front.url, generation("a")).status == 200
    assert len(instance.received) == 9


def test_broken_calls_take_no_instance_out_of_service(instance: FakeMinimax, tmp_path: Path) -> None:
    with nginx(tmp_path, instance.url, instance.url) as front:
        instance.script = reset
        assert [ask(front.url, generation("a")).status for _ in range(4)] == [502] * 4
        instance.script = respond(success())
        assert ask(front.url, generation("a")).status == 200
    assert len(instance.received) == 5


def test_connections_to_an_instance_are_reused(instance: FakeMinimax, tmp_path: Path) -> None:
    """Sequential callers need at most one connection for each of the two nginx processes."""
    with nginx(tmp_path, instance.url) as front:
        for _ in range(20):
            assert ask(front.url, generation("a")).status == 200
    assert len(instance.received) == 20
    assert instance.connections <= 4


# Slow callers


def test_a_slow_request_is_buffered_by_nginx(instance: FakeMinimax, tmp_path: Path) -> None:
    whole = generation("slow")
    with nginx(tmp_path, instance.url) as front, Caller(front.url) as no_head, Caller(front.url) as half_a_body:
        no_head.send(whole[:30])
        half_a_body.send(whole[:-10])
        assert ask(front.url, generation("quick")).status == 200
        assert instance.connections == 1
        assert no_head.send(whole[30:]).reply().status == 200
        assert half_a_body.send(whole[-10:]).reply().status == 200
    assert len(instance.received) == 3


def test_a_chunked_upload_arrives_with_its_length(instance: FakeMinimax, tmp_path: Path) -> None:
    with nginx(tmp_path, instance.url) as front, Caller(front.url) as caller:
        caller.send(head("POST", GENERATIONS, "Transfer-Encoding: chunked") + b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")
        assert caller.reply().status == 200
    [request] = instance.received
    assert (request.headers["content-length"], request.body) == ("3", b"abc")


def test_a_slow_reader_does_not_hold_the_gateway(instance: FakeMinimax, tmp_path: Path) -> None:
    """nginx buffers a response larger than the sockets' buffers before the caller reads its first byte."""
    body, gone = b"a" * 30 * MB, threading.Event()

    def script(connection: socket.socket) -> None:
        connection.sendall(http_bytes(body))
        gone.set()

    instance.script = script
    with nginx(tmp_path, instance.url) as front, Caller(front.url) as slow:
        slow.send(generation("a"))
        assert gone.wait(PATIENCE)
        assert slow.reply().body == body


def test_a_disconnected_caller_is_logged_with_its_delivered_images(tmp_path: Path) -> None:
    sent = request_id()
    with (
        holding_upstream() as upstream,
        processes.gateway(tmp_path, upstream.url) as gateway,
        nginx(tmp_path, gateway.url) as front,
    ):
        with Caller(front.url) as caller:
            caller.send(generation("disconnected", f"x-request-id: {sent}"))
            upstream.wait_for(1)
        wait_until(lambda: [line["status"] for line in json_lines(front.log)] == ["499"], "nginx's line about it")
        upstream.release.set()
        line = only_line(gateway, sent)
        assert (line["status"], line["delivered"]) == (200, 1)


# Headers and paths


def test_conflicting_scheme_headers_are_accepted(fronted: Served) -> None:
    """A load balancer in front of nginx adds some of them; gunicorn rejects a request with conflicting ones."""
    lines = ("X-Forwarded-Ssl: on", "X-Forwarded-Protocol: ssl", "X-Forwarded-Proto: https")
    assert ask(fronted.url, head("GET", "/v1/models", *lines), "GET").status == 200


@pytest.mark.parametrize("path", ["/metrics", "//metrics", "/%6detrics", "/a/../metrics"])
def test_metrics_are_not_served_to_callers(instance: FakeMinimax, tmp_path: Path, path: str) -> None:
    with nginx(tmp_path, instance.url) as front:
        reply = ask(front.url, head("GET", path), "GET")
    assert (reply.status, reply.error["code"]) == (404, "not_found")
    assert instance.received == []


def test_a_truncated_response_stays_truncated(instance: FakeMinimax, tmp_path: Path) -> None:
    instance.script = half(success())
    with nginx(tmp_path, instance.url) as front:
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            requests.post(front.url + GENERATIONS, json={}, timeout=PATIENCE)
        assert len(instance.received) == 1


def test_nginx_logs_numbers_and_names_only(instance: FakeMinimax, tmp_path: Path) -> None:
    with nginx(tmp_path, instance.url) as front:
        data = post({"model": MODEL, "prompt": "private"}, path=f"{GENERATIONS}?key=private", key="private")
        assert ask(front.url, data).status == 200
        wait_until(lambda: len(json_lines(front.log)) == 1, "nginx's line")
        assert "private" not in front.log.read_text()


def test_it_serves_tls(served: Served, tmp_path: Path) -> None:
    """With the lines from docs/deploy.md."""
    ca = trustme.CA()
    certificate = ca.issue_cert(HOST)
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "images.example.com.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "images.example.com.key")
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    [lines] = re.findall(r"^```nginx\n *listen 443( ssl);\n(.*?)^```", DOC, re.DOTALL | re.MULTILINE)
    changes = {"server_tokens off;": f"server_tokens off;\n{lines[1].replace('/etc/ssl', str(tmp_path))}"}
    with (
        nginx(tmp_path, served.url, changes=changes, listen=lines[0], scheme="https") as front,
        requests.Session() as session,
    ):
        session.trust_env = False
        session.verify = str(tmp_path / "ca.pem")
        session.headers["Authorization"] = f"Bearer {API_KEY}"
        response = session.post(front.url + GENERATIONS, json={"model": MODEL, "prompt": "a"}, timeout=PATIENCE)
        assert response.status_code == 200
        plain = ask(front.url, head("GET", "/v1/models"), "GET")
        assert (plain.status, plain.error["code"]) == (400, "bad_request")
