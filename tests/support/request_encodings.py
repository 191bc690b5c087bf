"""The three encodings of a request: JSON generations, JSON edits and form edits. Tests run their cases in all three."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.images import JPEG, data_url

GENERATIONS = "/v1/images/generations"
EDITS = "/v1/images/edits"
MODEL = "MiniMax-Image-01"
PROMPT = "A harbour at dusk, 海港, 🦦"
BASE: dict[str, Any] = {"model": MODEL, "prompt": PROMPT}
# The payload for a request with model and prompt only.
PLAIN: dict[str, Any] = {"model": "image-01", "prompt": PROMPT, "n": 1, "response_format": "url"}

BOUNDARY = "----amux-boundary-of-tests"


class File(NamedTuple):
    """`name` is the file name, None for a part without one; `mime_type` may be None too."""

    content: bytes
    name: str | None
    mime_type: str | None


Part = tuple[str, str | bytes | File]


def as_reference(image_file: Any) -> list[dict[str, Any]]:
    return [{"type": "character", "image_file": image_file}]


REFERENCE = as_reference(data_url(JPEG))


def a_file(
    image: bytes = JPEG,
    *,
    part: str = "image",
    name: str | None = "face.jpg",
    mime_type: str | None = "image/jpeg",
) -> Part:
    return part, File(image, name, mime_type)


def texts(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """A value as both SDKs flatten it into form fields; null as the empty text that HTML forms send."""
    if isinstance(value, dict):
        for key, member in value.items():
            yield from texts(f"{name}[{key}]", member)
    elif isinstance(value, list):
        for member in value:
            yield from texts(f"{name}[]", member)
    else:
        yield name, value if isinstance(value, str) else "" if value is None else json.dumps(value)


def post_form(client: FlaskClient, fields: Mapping[str, Any], *files: Part) -> TestResponse:
    parts = [part for name, value in fields.items() for part in texts(name, value)]
    return post_parts(client, *parts, *files)


def post_parts(client: FlaskClient, *parts: Part) -> TestResponse:
    return client.post(EDITS, data=multipart(*parts), content_type=f"multipart/form-data; boundary={BOUNDARY}")


def multipart(*parts: Part) -> bytes:
    """The whole body. Names are quoted as browsers do; a text may be bytes, which need not be valid UTF-8."""
    lines = []
    for name, value in parts:
        head = f'Content-Disposition: form-data; name="{_quoted(name)}"'
        if isinstance(value, File):
            head += "" if value.name is None else f'; filename="{_quoted(value.name)}"'
            head += "" if value.mime_type is None else f"\r\nContent-Type: {value.mime_type}"
            value = value.content
        content = value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
        lines += [f"--{BOUNDARY}".encode(), head.encode("utf-8", "surrogatepass"), b"", content]
    return b"\r\n".join([*lines, f"--{BOUNDARY}--".encode(), b""])


def _quoted(name: str) -> str:
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


@dataclass(frozen=True)
class Encoding:
    """`adds` is the reference image that MiniMax gets in addition to the fields, because edits require one."""

    name: str
    post: Callable[[FlaskClient, Mapping[str, Any]], TestResponse]
    adds: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


JSON_GENERATIONS = Encoding("json generations", lambda client, body: client.post(GENERATIONS, json=body))
JSON_EDITS = Encoding(
    "json edits",
    lambda client, body: client.post(EDITS, json={"subject_reference": REFERENCE, **body}),
    {"subject_reference": REFERENCE},
)
FORM_EDITS = Encoding(
    "form edits", lambda client, body: post_form(client, body, a_file()), {"subject_reference": REFERENCE}
)
ENCODINGS = (JSON_GENERATIONS, JSON_EDITS, FORM_EDITS)
JSON_ENCODINGS = (JSON_GENERATIONS, JSON_EDITS)


def envelope(message: str, param: str | None, code: str = "invalid_value") -> dict[str, Any]:
    return {"error": {"message": message, "type": "minimax_image_error", "param": param, "code": code}}
