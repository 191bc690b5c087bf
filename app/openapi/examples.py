"""Examples of requests, each of which is answered by the sandbox, and of responses."""

from __future__ import annotations

from typing import Any

_MODEL = "MiniMax-Image-01"
PROMPT = "A lighthouse at dusk"
_FACE = "https://example.com/face.jpg"


def _example(summary: str, **fields: Any) -> dict[str, Any]:
    return {"summary": summary, "value": {"model": _MODEL, **fields}}


GENERATION = {
    "text": _example("From a text", prompt=PROMPT, aspect_ratio="16:9"),
    "several": _example(
        "Several images, in base64", prompt="A glacier", n=2, seed=20260430, response_format="b64_json"
    ),
    "reference": _example(
        "With a face from an image",
        prompt="The same face, on a harbour wall",
        subject_reference=[{"type": "character", "image_file": _FACE}],
    ),
    "stream": _example("As an event stream", prompt=PROMPT, stream=True),
}
EDIT = {
    "image": _example("A URL or data URL", prompt="The same person, on a snowy pass", image=_FACE),
    "images": _example(
        "In OpenAI's format", prompt="The same person, on a snowy pass", images=[{"image_url": _FACE}], size="1024x1536"
    ),
}
# `image` is a file in a form. A URL is accepted in its place, and can be written down.
FORM = {"form": _example("A form", prompt="The same person, on a snowy pass", image=_FACE, n=1)}

_METADATA = {"success_count": "1", "failed_count": "0"}
IMAGES = {
    name: {"summary": summary, "value": {"created": 1764288000, "data": [image], "metadata": _METADATA}}
    for name, summary, image in (
        ("url", "URLs, which expire after 24 hours", {"url": "https://example.com/image.jpg"}),
        ("b64_json", "In base64", {"b64_json": "/9j/4AAQSkZJRgABAQ=="}),
    )
}
