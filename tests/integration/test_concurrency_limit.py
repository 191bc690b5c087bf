"""A full gateway rejects calls at once, slow callers are disconnected, and every slot is released."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.integration.process_metrics import MB, Metrics, in_flight, wait_until_idle
from tests.integration.raw_http import (
    EDITS,
    FAST,
    GENERATIONS,
    MODEL,
    Caller,
    HoldingUpstream,
    ask,
    edit,
    generation,
    head,
    health,
    holding_upstream,
    image_response,
    image_url,
    only_line,
    post,
    request_id,
    request_lines,
    success_of,
)
from tests.support import processes
from tests.support.images import JPEG
from tests.support.processes import Served
from tests.support.waiting import wait_until

LARGE = json.dumps(success_of(image_base64=[base64.b64encode(JPEG + os.urandom(2 * MB)).decode()] * 9)).encode()
UPLOAD = ("Content-Type: multipart/form-data; boundary=line", f"Content-Length: {10 * MB}")


def large(*lines: str) -> bytes:
    return post({"model": MODEL, "prompt": "large", "n": 9, "response_format": "b64_json"}, *lines)


@contextmanager
def small_gateway(tmp_path: Path, **variables: str) -> Iterator[tuple[HoldingUpstream, Served]]:
    """One worker with two slots; a caller has one second to send and one to read."""
    chosen = {"WEB_CONCURRENCY": "1", "AMUX_MAX_CALLS": "2", "AMUX_CLIENT_TIMEOUT_SECONDS": "1"} | variables
    with (
        holding_upstream(lambda prompt: LARGE if prompt == "large" else image_response(prompt)) as upstream,
        processes.gateway(tmp_path, upstream.url, **chosen) as gateway,
    ):
        yield upstream, gateway


def assert_all_slots_free(gateway: Served) -> None:
    """Wait until no call is in flight, and check that calls succeed."""
    wait_until_idle(gateway)
    for _ in range(3):
        assert ask(gateway.url, generation(FAST)).status == 200


# Full


def test_a_full_gateway_rejects_a_call_before_reading_its_body(tmp_path: Path) -> None:
    """Only the head of an upload of 10 MB is sent. Health checks and calls in flight still get responses."""
    with small_gateway(tmp_path) as (upstream, gateway), ExitStack() as stack:
        held = [stack.enter_context(Caller(gateway.url)) for _ in range(2)]
        for number, caller in enumerate(held):
            caller.send(generation(f"held {number}"))
        upstream.wait_for(2)
        before = Metrics(gateway.url)
        assert before["amux_calls_in_flight"] == 2

        for path in (EDITS, EDITS, GENERATIONS):
            sent = request_id()
            reply = ask(gateway.url, head("POST", path, *UPLOAD, f"x-request-id: {sent}"))
            assert (reply.status, reply.error["code"]) == (503, "gateway_full")
            assert reply.headers["x-should-retry"] == "true"
            assert 1 <= int(reply.headers["retry-after"]) <= 60
            assert reply.headers["x-request-id"] == sent
            line = only_line(gateway, sent)
            assert (line["status"], line["code"], line["bytes_in"]) == (503, "gateway_full", 0)
            assert health(gateway.url, "/healthz") == health(gateway.url, "/readyz") == 200
            assert ask(gateway.url, head("GET", "/v1/models"), "GET").status == 200

        after = Metrics(gateway.url)
        assert after["amux_refused_full_total"] - before["amux_refused_full_total"] == 3
        assert after["amux_calls_in_flight"] == 2
        upstream.release.set()
        for number, caller in enumerate(held):
            assert caller.reply().json["data"] == [{"url": image_url(f"held {number}")}]
        assert_all_slots_free(gateway)
        assert len(upstream.calls) == 2 + 3


def test_rejected_callers_that_never_send_their_bodies_block_nobody(tmp_path: Path) -> None:
    """Three times as many callers as threads; each gets its response at once, and a lingering close of seconds."""
    with small_gateway(tmp_path, AMUX_CLIENT_TIMEOUT_SECONDS="60") as (upstream, gateway), ExitStack() as stack:
        held = [stack.enter_context(Caller(gateway.url)).send(generation("held")) for _ in range(2)]
        upstream.wait_for(2)
        refused = [stack.enter_context(Caller(gateway.url)).send(head("POST", EDITS, *UPLOAD)) for _ in range(200)]
        begun = time.monotonic()
        assert health(gateway.url, "/healthz") == health(gateway.url, "/readyz") == 200
        assert time.monotonic() - begun < 5  # 15 if each held a thread until it is closed
        assert {caller.reply().status for caller in refused} == {503}
        upstream.release.set()
        assert [caller.reply().status for caller in held] == [200, 200]


def test_a_caller_that_sends_everything_before_reading_gets_the_503(tmp_path: Path) -> None:
    """openai-node does so, and would upload everything again after a reset."""
    with small_gateway(tmp_path, AMUX_CLIENT_TIMEOUT_SECONDS="60") as (upstream, gateway), ExitStack() as stack:
        held = [stack.enter_context(Caller(gateway.url)).send(generation("held")) for _ in range(2)]
        upstream.wait_for(2)
        for _ in range(5):
            reply = ask(gateway.url, edit("refused", image=b"a" * 10 * MB))
            assert (reply.status, reply.error["code"]) == (503, "gateway_full")
        upstream.release.set()
        assert [caller.reply().status for caller in held] == [200, 200]


def test_a_full_gateway_still_rejects_unknown_keys_with_401(tmp_path: Path) -> None:
    with small_gateway(tmp_path, AMUX_MAX_CALLS="1") as (upstream, gateway), Caller(gateway.url) as held:
        held.send(generation("held"))
        upstream.wait_for(1)
        assert ask(gateway.url, post({}, key="unknown")).status == 401
        assert Metrics(gateway.url)["amux_refused_full_total"] == 0
        upstream.release.set()
        assert held.reply().status == 200


Outcome = Callable[[HoldingUpstream, Served, Caller], None]


def is_answered(upstream: HoldingUpstream, gateway: Served, caller: Caller) -> None:
    assert caller.send(generation(FAST)).reply().status == 200


def is_refused(upstream: HoldingUpstream, gateway: Served, caller: Caller) -> None:
    for request, status in (
        (post({}), 400),
        (post(b"{"), 400),
        (post({"model": "other", "prompt": "p"}), 400),
        (post(b"{}").replace(b"application/json", b"text/plain"), 415),
        (edit(FAST, image=b"no image"), 400),
    ):
        assert caller.send(request).reply().status == status


def leaves_in_its_upload(upstream: HoldingUpstream, gateway: Served, caller: Caller) -> None:
    caller.send(edit("gone", image=b"a" * MB)[: MB // 2])


def leaves_with_a_reset(upstream: HoldingUpstream, gateway: Served, caller: Caller) -> None:
    caller.send(edit("gone", image=b"a" * MB)[: MB // 2])
    caller.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def leaves_in_its_call(upstream: HoldingUpstream, gateway: Served, caller: Caller) -> None:
    arrived = len(upstream.calls)
    caller.send(generation("gone"))
    upstream.wait_for(arrived + 1)


def leaves_in_its_answer(upstream: HoldingUpstream, gateway: Served, caller: Caller) -> None:
    upstream.release.set()
    assert caller.send(large()).socket.recv(100).startswith(b"HTTP/1.1 200 ")


def never_reads(upstream: HoldingUpstream, gateway: Served, caller: Caller) -> None:
    upstream.release.set()
    sent = request_id()
    caller.send(large(f"x-request-id: {sent}"))
    assert only_line(gateway, sent)["status"] == 200
    wait_until(lambda: in_flight(gateway) == 0, "a slot that is taken from its caller")


def never_sends_its_end(upstream: HoldingUpstream, gateway: Served, caller: Caller) -> None:
    assert caller.send(head("POST", EDITS, *UPLOAD)).reply().status == 408


OUTCOMES: list[Outcome] = [
    is_answered,
    is_refused,
    leaves_in_its_upload,
    leaves_with_a_reset,
    leaves_in_its_call,
    leaves_in_its_answer,
    never_reads,
    never_sends_its_end,
]


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_slot_is_released_by_a_caller_that(tmp_path: Path, outcome: Outcome) -> None:
    """Three such callers in sequence, with two slots."""
    with small_gateway(tmp_path) as (upstream, gateway):
        for _ in range(3):
            with Caller(gateway.url) as caller:
                outcome(upstream, gateway, caller)
            if outcome is leaves_in_its_call:
                upstream.release.set()
            wait_until_idle(gateway)
        assert_all_slots_free(gateway)
        printed = gateway.log.read_text()
        assert "Traceback" not in printed
        assert '"gateway_full"' not in printed


# Slow


def drip(caller: Caller, data: bytes) -> None:
    """Send a byte now and then, until the gateway disconnects."""
    for byte in data:
        try:
            caller.send(bytes([byte]))
        except OSError:
            return
        time.sleep(0.02)


def test_a_dripping_body_is_408(tmp_path: Path) -> None:
    """The deadline holds for the whole request, not for each read."""
    with small_gateway(tmp_path) as (upstream, gateway), Caller(gateway.url) as caller:
        sent = request_id()
        caller.send(
            head("POST", GENERATIONS, "Content-Type: application/json", "Content-Length: 1000", f"x-request-id: {sent}")
        )
        caller.send(b'{"prompt": "')
        give_up = time.monotonic() + 30
        caller.socket.setblocking(False)
        while True:
            try:
                assert caller.socket.recv(1, socket.MSG_PEEK)
                break
            except BlockingIOError:
                assert time.monotonic() < give_up
                caller.socket.send(b"a")
                time.sleep(0.02)
        caller.socket.setblocking(True)
        reply = caller.reply()
        assert (reply.status, reply.error["code"]) == (408, "request_timeout")
        assert reply.headers["x-should-retry"] == "false"
        line = only_line(gateway, sent)
        assert (line["status"], line["code"]) == (408, "request_timeout")
        assert line["bytes_in"] < 1000
        wait_until(lambda: hung_up(caller), "the end of the connection")
        assert_all_slots_free(gateway)
        assert [call.prompt for call in upstream.calls] == [FAST] * 3


def hung_up(caller: Caller) -> bool:
    try:
        return caller.is_hung_up()
    except ConnectionResetError:
        return True


def test_a_dripping_request_head_is_disconnected(tmp_path: Path) -> None:
    with small_gateway(tmp_path) as (_, gateway), Caller(gateway.url) as caller:
        drip(caller, head("GET", "/healthz", *[f"X-{number}: {number}" for number in range(90)]))
        assert hung_up(caller)
        assert_all_slots_free(gateway)


def test_each_request_of_a_connection_has_its_own_deadline(tmp_path: Path) -> None:
    with small_gateway(tmp_path) as (_, gateway), Caller(gateway.url) as caller:
        for _ in range(4):
            assert caller.send(generation(FAST)).reply().status == 200
            time.sleep(0.4)  # time between requests does not count
        caller.send(generation(FAST)[:-1])
        reply = caller.reply()
        assert reply.status == 408


@pytest.mark.parametrize("part", ["head", "body"])
def test_more_slow_senders_than_threads_delay_nobody(tmp_path: Path, part: str) -> None:
    """There are 66 threads; a caller that sends at once gets its response within a few seconds."""
    request = edit("slow", image=b"a" * MB)
    with small_gateway(tmp_path) as (_, gateway), ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(Caller(gateway.url)).send(request[: 40 if part == "head" else 1000])
        assert health(gateway.url) == 200
        wait_until_idle(gateway)
        assert_all_slots_free(gateway)


def test_a_slow_reader_is_disconnected_and_logged(tmp_path: Path) -> None:
    with small_gateway(tmp_path) as (upstream, gateway), Caller(gateway.url) as caller:
        upstream.release.set()
        sent = request_id()
        caller.send(large(f"x-request-id: {sent}"))
        read = 0
        while in_flight(gateway) or not read:  # read a little now and then
            read += len(caller.socket.recv(4096))
            time.sleep(0.02)
        with contextlib.suppress(ConnectionResetError):
            while data := caller.socket.recv(MB):
                read += len(data)
        assert read < len(LARGE)
        line = only_line(gateway, sent)
        assert (line["status"], line["delivered"]) == (200, 9)
        assert len(request_lines(gateway, sent)) == 1
        assert_all_slots_free(gateway)
        assert "Traceback" not in gateway.log.read_text()


def test_a_reader_within_its_deadline_gets_the_whole_response(tmp_path: Path) -> None:
    with (
        small_gateway(tmp_path, AMUX_CLIENT_TIMEOUT_SECONDS="60") as (upstream, gateway),
        Caller(gateway.url) as caller,
    ):
        upstream.release.set()
        caller.send(large())
        time.sleep(2)
        reply = caller.reply()
        assert reply.status == 200
        assert len(reply.json["data"]) == 9


def test_the_upstream_call_does_not_count_towards_client_deadlines(tmp_path: Path) -> None:
    with small_gateway(tmp_path) as (upstream, gateway), Caller(gateway.url) as caller:
        caller.send(generation("long"))
        upstream.wait_for(1)
        time.sleep(2)  # twice the caller's deadline
        upstream.release.set()
        assert caller.reply().status == 200
