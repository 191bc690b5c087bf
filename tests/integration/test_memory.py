"""Big pictures in constant memory: what a process holds of one does not depend on how large it is.

Every test asks for the kernel's own high-water mark, so that nothing that was held for a moment goes unseen. The files
that bodies are spooled to are not memory, and are looked at in test_spooling.py.
"""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.schemas.reference_image import MAX_IMAGE_BYTES
from tests.integration.process_metrics import MB, Growth, in_flight, memory, processes_of, wait_until_idle
from tests.integration.raw_http import (
    EDITS,
    FAST,
    GENERATIONS,
    MODEL,
    Caller,
    ask,
    edit,
    holding_upstream,
    post,
    success_of,
    wait_until,
)
from tests.support import processes
from tests.support.pictures import JPEG, data_url

AT_ONCE = 8
MAX_INT32 = 2 * MB  # for each call in flight
IMAGE = JPEG + os.urandom(MAX_IMAGE_BYTES - len(JPEG) - 1)


def as_file(prompt: str, image: bytes) -> bytes:
    return edit(prompt, image=image)


def as_data_url(prompt: str, image: bytes) -> bytes:
    reference = [{"type": "character", "image_file": data_url(image)}]
    return post({"model": MODEL, "prompt": prompt, "subject_reference": reference}, path=EDITS)


def send_all(callers: list[Caller], request: bytes) -> None:
    threads = [threading.Thread(target=caller.send, args=(request,)) for caller in callers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("make", [as_file, as_data_url])
def test_an_upload_costs_little_memory_however_many_there_are(
    tmp_path: Path, make: Callable[[str, bytes], bytes]
) -> None:
    with (
        holding_upstream() as upstream,
        processes.gateway(tmp_path, upstream.url) as gateway,
        ExitStack() as stack,
    ):
        for _ in range(10):
            assert ask(gateway.url, make(FAST, JPEG)).status == 200
        pids = processes_of(gateway)
        before, growth = memory(pids), Growth(pids)

        callers = [stack.enter_context(Caller(gateway.url)) for _ in range(AT_ONCE)]
        send_all(callers, make("held", IMAGE))
        upstream.wait_for(10 + AT_ONCE)
        assert memory(pids) - before <= AT_ONCE * MAX_INT32
        assert in_flight(gateway) == AT_ONCE

        upstream.release.set()
        assert [caller.reply().status for caller in callers] == [200] * AT_ONCE
        assert growth.peak <= AT_ONCE * MAX_INT32
        for call in upstream.calls[10:]:
            assert "transfer-encoding" not in call.headers
            assert call.size > MAX_IMAGE_BYTES * 4 // 3
        assert len({call.sha256 for call in upstream.calls[10:]}) == 1


def as_one_line(image: bytes) -> str:
    return base64.b64encode(image).decode()


def as_lines(image: bytes) -> str:
    return base64.encodebytes(image).decode()


@pytest.mark.parametrize("encode", [as_one_line, as_lines])
def test_base64_responses_that_nobody_reads_take_little_memory(tmp_path: Path, encode: Callable[[bytes], str]) -> None:
    """n = 9 of 2 MB each; the kernel's buffers take far less than there is to send."""
    images = [JPEG + os.urandom(2 * MB) for _ in range(9)]
    small = json.dumps(success_of(image_base64=["/9j/"] * 9)).encode()
    large = json.dumps(success_of(image_base64=[encode(image) for image in images])).encode()

    def request(prompt: str) -> bytes:
        return post({"model": MODEL, "prompt": prompt, "n": 9, "response_format": "b64_json"}, path=GENERATIONS)

    with (
        holding_upstream(lambda prompt: small if prompt == FAST else large) as upstream,
        processes.gateway(tmp_path, upstream.url) as gateway,
        ExitStack() as stack,
    ):
        for _ in range(10):
            assert ask(gateway.url, request(FAST)).status == 200
        pids = processes_of(gateway)
        before, growth = memory(pids), Growth(pids)

        callers = [stack.enter_context(Caller(gateway.url)) for _ in range(AT_ONCE)]
        send_all(callers, request("large"))
        upstream.wait_for(10 + AT_ONCE)
        upstream.release.set()
        wait_until(lambda: gateway.log.read_text().count('"n": 9') == 10 + AT_ONCE, "a log line for each answer")
        assert memory(pids) - before <= AT_ONCE * MAX_INT32
        assert in_flight(gateway) == AT_ONCE

        for caller in callers:
            reply = caller.reply()
            assert reply.status == 200
            assert int(reply.headers["content-length"]) == len(reply.body)
            assert reply.json["data"] == [{"b64_json": as_one_line(image)} for image in images]
        assert growth.peak <= AT_ONCE * MAX_INT32
        wait_until_idle(gateway)


def test_what_was_grown_does_not_add_up(tmp_path: Path) -> None:
    """A second and a third wave need no more than the first."""
    with holding_upstream() as upstream, processes.gateway(tmp_path, upstream.url, WEB_CONCURRENCY="1") as gateway:
        upstream.release.set()
        request = as_file("again", IMAGE)

        def wave() -> None:
            with ExitStack() as stack:
                callers = [stack.enter_context(Caller(gateway.url)) for _ in range(4)]
                send_all(callers, request)
                assert [caller.reply().status for caller in callers] == [200] * 4

        wave()
        growth = Growth(processes_of(gateway))
        for _ in range(4):
            wave()
        assert growth.peak <= 4 * MAX_INT32
