"""Spool files of large bodies: exact content, no visible or leftover files, and full disks."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.integration.process_metrics import MB, open_in, processes_of, wait_until_idle
from tests.integration.raw_http import (
    EDITS,
    GENERATIONS,
    MODEL,
    Caller,
    HoldingUpstream,
    ask,
    children,
    edit,
    generation,
    health,
    holding_upstream,
    image_response,
    only_line,
    post,
    request_id,
    success_of,
)
from tests.support import processes
from tests.support.fake_minimax import FakeMinimax, half, respond
from tests.support.images import JPEG, data_url
from tests.support.processes import Served, procfile_command, serve
from tests.support.waiting import wait_until

IMAGE = JPEG + os.urandom(6 * MB)
IMAGES = [base64.b64encode(JPEG + os.urandom(2 * MB)).decode() for _ in range(4)]
LARGE = success_of(image_base64=IMAGES)


def drawing(prompt: str, *lines: str) -> bytes:
    return post({"model": MODEL, "prompt": prompt, "n": 4, "response_format": "b64_json"}, *lines, path=GENERATIONS)


def referring(prompt: str, *lines: str, image: bytes = IMAGE) -> bytes:
    reference = [{"type": "character", "image_file": data_url(image)}]
    return post({"model": MODEL, "prompt": prompt, "subject_reference": reference}, *lines, path=EDITS)


def uploading(prompt: str, *lines: str) -> bytes:
    return edit(prompt, *lines, image=IMAGE)


# Content


@pytest.mark.parametrize("make", [uploading, referring])
def test_minimax_gets_the_exact_image_and_a_content_length(
    gateway: Served, upstream: FakeMinimax, make: Callable[[str], bytes]
) -> None:
    assert ask(gateway.url, make("an otter")).status == 200
    [received] = upstream.received
    assert received.json == {
        "model": "image-01",
        "prompt": "an otter",
        "n": 1,
        "response_format": "url",
        "subject_reference": [{"type": "character", "image_file": data_url(IMAGE)}],
    }
    assert received.headers["content-length"] == str(len(received.body))
    assert "transfer-encoding" not in received.headers


def test_images_are_returned_byte_for_byte(gateway: Served, upstream: FakeMinimax) -> None:
    upstream.script = respond(LARGE)
    reply = ask(gateway.url, drawing("an otter"))
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert reply.json["data"] == [{"b64_json": image} for image in IMAGES]
    assert reply.headers["content-length"] == str(len(reply.body))


def test_a_truncated_response_is_502_without_any_of_its_images(gateway: Served, upstream: FakeMinimax) -> None:
    upstream.script = half(LARGE)
    reply = ask(gateway.url, drawing("an otter"))
    assert (reply.status, reply.error["code"]) == (502, "upstream_interrupted")
    assert len(reply.body) < 1000


def test_invalid_json_is_502_without_any_of_its_images(gateway: Served, upstream: FakeMinimax) -> None:
    upstream.script = respond(json.dumps(LARGE).encode()[:-1])
    reply = ask(gateway.url, drawing("an otter"))
    assert (reply.status, reply.error["code"]) == (502, "upstream_invalid_answer")
    assert len(reply.body) < 1000


def test_a_spooled_text_in_any_other_field_is_validated_like_a_short_one(
    gateway: Served, upstream: FakeMinimax
) -> None:
    for name in ("model", "prompt", "size", "aspect_ratio", "response_format", "style_type", "n", "stream"):
        messages = []
        for size in (2000, 1_000_000):
            reply = ask(gateway.url, post({"model": MODEL, "prompt": "p", name: "a" * size}))
            assert (reply.status, reply.error["param"]) == (400, name)
            messages.append(reply.error["message"].replace(str(size), "…"))
        assert messages[0] == messages[1]
    reply = ask(gateway.url, post({"model": MODEL, "prompt": "p", "style": "a" * MB, "quality": "a" * MB}))
    assert reply.status == 200
    assert upstream.received[0].json == {"model": "image-01", "prompt": "p", "n": 1, "response_format": "url"}


# Cleanup


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    spool = tmp_path / "spool"
    spool.mkdir()
    return spool


@contextmanager
def spooling(tmp_path: Path, folder: Path) -> Iterator[tuple[HoldingUpstream, Served]]:
    with (
        holding_upstream(
            lambda prompt: json.dumps(LARGE).encode() if "large" in prompt else image_response(prompt)
        ) as upstream,
        processes.gateway(tmp_path, upstream.url, AMUX_SPOOL_FOLDER=str(folder)) as gateway,
    ):
        yield upstream, gateway


def test_spool_files_are_unlinked_and_closed_with_their_call(tmp_path: Path, folder: Path) -> None:
    with spooling(tmp_path, folder) as (upstream, gateway), ExitStack() as stack:
        callers = [stack.enter_context(Caller(gateway.url)) for _ in range(3)]
        for caller, request in zip(callers, (uploading("a"), referring("b"), drawing("large")), strict=True):
            caller.send(request)
        upstream.wait_for(3)
        pids = processes_of(gateway)
        files = open_in(folder, pids)
        assert len(files) == 2
        assert all(name.endswith(" (deleted)") for name in files)
        assert list(folder.iterdir()) == []

        upstream.release.set()
        assert [caller.reply().status for caller in callers[:2]] == [200, 200]
        wait_until(lambda: '"n": 4' in gateway.log.read_text(), "a response that is being sent")
        wait_until(lambda: len(open_in(folder, pids)) == 1, "a file for the response alone")
        assert list(folder.iterdir()) == []
        assert callers[2].reply().status == 200
        wait_until(lambda: open_in(folder, pids) == [], "no file left open")
        assert list(folder.iterdir()) == []


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("when", ["in the upload", "in the call", "in the response"])
def test_no_spool_file_stays_open_when_a_caller_disconnects(
    tmp_path: Path, folder: Path, when: str, reset: bool
) -> None:
    with spooling(tmp_path, folder) as (upstream, gateway):

        def open_files() -> list[str]:
            """Of all workers: the last one may start after the gateway is ready."""
            return open_in(folder, processes_of(gateway))

        with Caller(gateway.url) as caller:
            request = uploading("gone", "x-request-id: gone") if when != "in the response" else drawing("large")
            caller.send(request if when != "in the upload" else request[: len(request) // 2])
            if when == "in the upload":
                wait_until(lambda: len(open_files()) == 1, "a file")
            else:
                upstream.wait_for(1)
            if when == "in the response":
                upstream.release.set()
                assert caller.socket.recv(1000).startswith(b"HTTP/1.1 200 ")
                assert len(open_files()) == 1
            if reset:
                caller.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        upstream.release.set()
        wait_until(lambda: open_files() == [], "no file left open")
        wait_until_idle(gateway)
        assert list(folder.iterdir()) == []
        assert "Traceback" not in gateway.log.read_text()


def test_no_spool_file_remains_when_a_worker_is_killed(tmp_path: Path, folder: Path) -> None:
    with spooling(tmp_path, folder) as (upstream, gateway), ExitStack() as stack:
        callers = [stack.enter_context(Caller(gateway.url)) for _ in range(4)]
        for caller in callers:
            caller.send(uploading("killed"))
        upstream.wait_for(len(callers))
        workers = children(gateway.process.pid)
        assert len(open_in(folder, workers)) == len(callers)
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
        assert all(caller.is_hung_up() for caller in callers)
        assert list(folder.iterdir()) == []
        wait_until(lambda: health(gateway.url) == 200, "a new worker")
        assert open_in(folder, processes_of(gateway)) == []


# Full disks


@contextmanager
def small_disk(tmp_path: Path, folder: Path, kind: str) -> Iterator[str]:
    """A command prefix that leaves a process with too little room in `folder`."""
    if kind == "file size":
        if shutil.which("prlimit") is None:
            pytest.skip("prlimit is missing: it is part of util-linux")
        yield f"prlimit --fsize={MB} "
        return
    mounting = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={MB}", "tmpfs", folder], capture_output=True)
    if mounting.returncode != 0:
        pytest.skip(f"a tmpfs can be mounted only by root: {mounting.stderr.decode().strip()}")
    try:
        yield ""
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize("kind", ["tmpfs", "file size"])
def test_a_full_disk_is_503_and_not_an_internal_error(tmp_path: Path, folder: Path, kind: str) -> None:
    port = processes.free_port()
    with (
        holding_upstream(lambda prompt: json.dumps(LARGE).encode() if "large" in prompt else b"{}") as upstream,
        small_disk(tmp_path, folder, kind) as prefix,
        serve(
            prefix + procfile_command("web"),
            f"http://{processes.HOST}:{port}",
            "/readyz",
            tmp_path / "log",
            {
                "HOST": processes.HOST,
                "PORT": str(port),
                "AMUX_API_KEYS": processes.API_KEY,
                "MINIMAX_API_KEY": processes.UPSTREAM_KEY,
                "MINIMAX_BASE_URL": upstream.url,
                "AMUX_SPOOL_FOLDER": str(folder),
            },
        ) as gateway,
    ):
        upstream.release.set()
        for _ in range(3):
            for make in (uploading, referring):
                sent = request_id()
                reply = ask(gateway.url, make("no room", f"x-request-id: {sent}"))
                assert (reply.status, reply.error["code"]) == (503, "storage_full")
                assert reply.headers["x-should-retry"] == "true"
                assert int(reply.headers["retry-after"]) > 0
                assert only_line(gateway, sent)["code"] == "storage_full"
            assert upstream.calls == []

        for number in range(3):
            reply = ask(gateway.url, drawing("large"))
            assert (reply.status, reply.error["code"]) == (503, "answer_not_stored")
            assert reply.headers["x-should-retry"] == "false"
            assert "retry-after" not in reply.headers
            assert len(upstream.calls) == number + 1

        assert ask(gateway.url, generation("small")).error["code"] == "upstream_invalid_answer"
        wait_until_idle(gateway)
        assert open_in(folder, processes_of(gateway)) == []
        printed = gateway.log.read_text()
        for word in ("Traceback", "Error", "Unhandled", "Exception"):
            assert word not in printed
