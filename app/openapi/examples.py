"""Examples of requests, each of which is answered by the sandbox, and of responses."""

from __future__ import annotations

from typing import Any

from app.errors import ERROR_TYPE

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

METADATA = {"success_count": "1", "failed_count": "0"}
_CREATED = 1764288000
IMAGES = {
    name: {"summary": summary, "value": {"created": _CREATED, "data": [image], "metadata": METADATA}}
    for name, summary, image in (
        ("url", "URLs, which expire after 24 hours", {"url": "https://example.com/image.jpg"}),
        ("b64_json", "In base64", {"b64_json": "/9j/4AAQSkZJRgABAQ=="}),
    )
}


def _task(summary: str, status: str, **more: Any) -> dict[str, Any]:
    task = {"id": "4f1b2c3d4e5f60718293a4b5c6d7e8f9", "object": "image.task", "status": status, "created": _CREATED}
    return {"summary": summary, "value": task | more}


ACCEPTED = {"begun": _task("A task that has begun", "in_progress")}
TASKS = {
    "completed": _task("With its result", "completed", result=IMAGES["url"]["value"]),
    "failed": _task(
        "With its error",
        "failed",
        error={
            "message": "The prompt was withheld as sensitive.",
            "type": ERROR_TYPE,
            "param": None,
            "code": "1026",
            "http_status": 403,
        },
    ),
    "queued": _task("Before its turn", "queued"),
}
