"""Images and errors as server-sent events."""

from __future__ import annotations

import base64
import json
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from app.errors import GatewayError
from app.model_catalog import IMAGE_01, PIXELS
from app.services.events import HEARTBEAT, Operation, drawn_size, error_event, image_events
from app.services.image_request import ImageRequest
from app.spooling.spool import Spool
from app.spooling.spooled_text import SpooledText
from tests.support.images import JPEG, PNG, WEBP

COMMON = {"created_at": 17, "size": "1280x720", "quality": "auto", "background": "opaque"}


def base64_of(image: bytes) -> str:
    return base64.b64encode(image).decode()


@pytest.fixture
def spool() -> Iterator[Spool]:
    with closing(Spool()) as created:
        yield created


def spooled(spool: Spool, text: str) -> SpooledText:
    start = spool.size
    return SpooledText(spool, start, spool.write(text.encode()))


def rendered(*items: dict[str, Any], operation: Operation = "generation") -> bytes:
    return b"".join(image_events({"created": 17, "data": list(items)}, operation, "1280x720"))


def parsed(stream: bytes) -> list[tuple[str, Any]]:
    """The name and the data of each event. Fails unless each has these two lines only."""
    *events, rest = stream.decode().split("\n\n")
    assert rest == ""
    found = []
    for event in events:
        name, data = event.split("\n")
        assert (name[:7], data[:6]) == ("event: ", "data: ")
        found.append((name[7:], json.loads(data[6:])))
    return found


@pytest.mark.parametrize(
    ("operation", "name"),
    [("generation", "image_generation.completed"), ("edit", "image_edit.completed")],
)
def test_each_image_is_one_event(spool: Spool, operation: Operation, name: str) -> None:
    images = [base64_of(JPEG), base64_of(JPEG + b"second")]
    expected = [(name, {"type": name, "b64_json": image} | COMMON | {"output_format": "jpeg"}) for image in images]
    plain = rendered(*({"b64_json": image} for image in images), operation=operation)
    assert parsed(plain) == expected
    assert rendered(*({"b64_json": spooled(spool, image)} for image in images), operation=operation) == plain


@pytest.mark.parametrize("is_spooled", [False, True])
@pytest.mark.parametrize(("image", "output_format"), [(JPEG, "jpeg"), (PNG, "png"), (WEBP, "webp")])
def test_the_output_format_is_that_of_the_first_bytes(
    spool: Spool, image: bytes, output_format: str, *, is_spooled: bool
) -> None:
    text = base64_of(image)
    [(_, data)] = parsed(rendered({"b64_json": spooled(spool, text) if is_spooled else text}))
    assert data["output_format"] == output_format


def test_a_url_of_the_item_is_kept() -> None:
    first, second = parsed(
        rendered({"b64_json": base64_of(JPEG), "url": "https://a/b.jpg"}, {"b64_json": base64_of(JPEG)})
    )
    assert first[1]["url"] == "https://a/b.jpg"
    assert "url" not in second[1]


def test_large_images_are_rendered_in_constant_memory(spool: Spool) -> None:
    image = spooled(spool, base64_of(JPEG) + "A" * 12_000_000)
    tracemalloc.start()
    try:
        size = sum(map(len, image_events({"created": 17, "data": [{"b64_json": image}] * 2}, "edit", "1024x1024")))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size > 24_000_000
    assert peak < 2_000_000


def test_an_error_is_one_event() -> None:
    error = GatewayError("drawn\nor \u6d77\u6e2f", code="1000")
    assert parsed(error_event(error.envelope())) == [("error", error.envelope())]


def test_a_heartbeat_is_a_comment_and_no_event() -> None:
    assert HEARTBEAT.startswith(b":")
    assert HEARTBEAT.index(b"\n") == len(HEARTBEAT) - 1


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({}, "1024x1024"),
        *(({"aspect_ratio": ratio}, f"{width}x{height}") for ratio, (width, height) in PIXELS.items()),
        ({"width": 512, "height": 2048}, "512x2048"),
    ],
    ids=str,
)
def test_the_drawn_size(fields: dict[str, Any], size: str) -> None:
    assert drawn_size(ImageRequest(IMAGE_01, "p", 1, "b64_json", stream=True, **fields)) == size
