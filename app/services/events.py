"""Renders a response document, or an error, as server-sent events in OpenAI's shape.

A JSON document has no raw newline, so each event has one `data` line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from app.model_catalog import DEFAULT_ASPECT_RATIO, PIXELS
from app.services.image_request import ImageRequest
from app.spooling.json_writer import JsonBody
from app.spooling.spooled_text import SpooledText

Operation = Literal["generation", "edit"]

# A comment without a blank line after it, which older releases of openai-go read as an event whose data is no JSON.
HEARTBEAT = b": waiting\n"

_EVENT_TYPES: Mapping[Operation, str] = {
    "generation": "image_generation.completed",
    "edit": "image_edit.completed",
}
# By the first characters of the base64. MiniMax sends JPEG; the others have been accepted by the upstream client too.
_OUTPUT_FORMATS = {"/9j/": "jpeg", "iVBORw0KGg": "png", "UklGR": "webp"}
_MAX_MAGIC_CHARS = max(map(len, _OUTPUT_FORMATS))


def drawn_size(request: ImageRequest) -> str:
    """The size that MiniMax draws for `request`, as `WIDTHxHEIGHT` in pixels."""
    width, height = PIXELS[request.aspect_ratio or DEFAULT_ASPECT_RATIO]
    return f"{request.width or width}x{request.height or height}"


def image_events(document: Mapping[str, Any], operation: Operation, size: str) -> Iterator[bytes]:
    """One event for each item of `document["data"]`, in chunks; large images are copied from the spool.

    `document` is `{created, data: [{b64_json, …}]}`, where an item may have a `url` as well. `size` is `WIDTHxHEIGHT`.
    """
    event_type = _EVENT_TYPES[operation]
    for item in document["data"]:
        event = {
            "type": event_type,
            "b64_json": item["b64_json"],
            "created_at": document["created"],
            "size": size,
            "quality": "auto",
            "background": "opaque",
            "output_format": _output_format(item["b64_json"]),
        }
        if "url" in item:
            event["url"] = item["url"]
        yield f"event: {event_type}\ndata: ".encode()
        yield from JsonBody(event)
        yield b"\n\n"


def error_event(envelope: Mapping[str, Any]) -> bytes:
    """The event that the OpenAI SDKs raise as an error. `envelope` is `{"error": {…}}`."""
    return f"event: error\ndata: {json.dumps(envelope, separators=(',', ':'))}\n\n".encode()


def _output_format(image: str | SpooledText) -> str:
    head = image.head(_MAX_MAGIC_CHARS) if isinstance(image, SpooledText) else image
    return next((name for magic, name in _OUTPUT_FORMATS.items() if head.startswith(magic)), "jpeg")
