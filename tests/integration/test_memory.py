"""Large images in constant memory: what a process holds of an image does not depend on its size.

The tests read the kernel's high-water mark, which includes memory that was held for a moment only. Spool files are not
memory; test_spooling.py checks them.
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
    head,
    holding_upstream,
    post,
    success_of,
)
from tests.support import processes
from tests.support.images import JPEG, data_url
from tests.support.request_encodings import BOUNDARY, multipart
from tests.support.waiting import wait_until

AT_ONCE = 8
MAX_GROWTH_BYTES = 2 * MB  # per call in flight
IMAGE = JPEG + os.urandom(MAX_IMAGE_BYTES - len(JPEG) - 1)


def upload_request(prompt: str, image: bytes) -> bytes:
    return edit(prompt, image=image)


def data_url_request(prompt: str, image: bytes) -> bytes:
    reference = [{"type": "character", "image_file": data_url(image)}]
    return post({"model": MODEL, "prompt": prompt, "subject_reference": reference}, path=EDITS)


def wrapped_data_url_request(prompt: str, image: bytes) -> bytes:
    """In lines of 76 characters and without its padding, so that it has to be cleaned."""
    encoded = base64.b64encode(image).decode().rstrip("=")
    lines = "\r\n".join(encoded[i : i + 76] for i in range(0, len(encoded), 76))
    return post({"model": MODEL, "prompt": prompt, "image": f"data:image/jpeg;base64,{lines}"}, path=GENERATIONS)


def form_text_request(prompt: str, image: bytes) -> bytes:
    lines = base64.encodebytes(image).replace(b"\n", b"\r\n")
    body = multipart(("model", MODEL), ("prompt", prompt), ("image", b"data:image/jpeg;base64," + lines))
    kind = f"Content-Type: multipart/form-data; boundary={BOUNDARY}"
    return head("POST", EDITS, kind, f"Content-Length: {len(body)}") + body


def send_all(callers: list[Caller], request: bytes) -> None:
    threads = [threading.Thread(target=caller.send, args=(request,)) for caller in callers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("make", [upload_request, data_url_request, wrapped_data_url_request, form_text_request])
def test_concurrent_uploads_take_little_memory(tmp_path: Path, make: Callable[[str, bytes], bytes]) -> None:
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
        assert memory(pids) - before <= AT_ONCE * MAX_GROWTH_BYTES
        assert in_flight(gateway) == AT_ONCE

        upstream.release.set()
        assert [caller.reply().status for caller in callers] == [200] * AT_ONCE
        assert growth.peak <= AT_ONCE * MAX_GROWTH_BYTES
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
        wait_until(lambda: gateway.log.read_text().count('"n": 9') == 10 + AT_ONCE, "a log line for each response")
        assert memory(pids) - before <= AT_ONCE * MAX_GROWTH_BYTES
        assert in_flight(gateway) == AT_ONCE

        for caller in callers:
            reply = caller.reply()
            assert reply.status == 200
            assert int(reply.headers["content-length"]) == len(reply.body)
            assert reply.json["data"] == [{"b64_json": as_one_line(image)} for image in images]
        assert growth.peak <= AT_ONCE * MAX_GROWTH_BYTES
        wait_until_idle(gateway)


def test_memory_does_not_grow_from_wave_to_wave(tmp_path: Path) -> None:
    """Later waves need no more than the first."""
    with holding_upstream() as upstream, processes.gateway(tmp_path, upstream.url, WEB_CONCURRENCY="1") as gateway:
        upstream.release.set()
        request = upload_request("again", IMAGE)

        def wave() -> None:
            with ExitStack() as stack:
                callers = [stack.enter_context(Caller(gateway.url)) for _ in range(4)]
                send_all(callers, request)
                assert [caller.reply().status for caller in callers] == [200] * 4

        wave()
        growth = Growth(processes_of(gateway))
        for _ in range(4):
            wave()
        assert growth.peak <= 4 * MAX_GROWTH_BYTES
