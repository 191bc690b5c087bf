"""Tables of cases for the Python and Node SDK tests, and helpers that inspect images and logs."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from PIL import Image

from tests.support.fake_minimax import Script, error_response, half, reset, respond
from tests.support.images import JPEG, data_url
from tests.support.processes import Served

MODEL = "MiniMax-Image-01"
PROMPT = "A harbour at dusk, 海港, 🦦"
ERROR_TYPE = "minimax_image_error"
MB = 1024 * 1024

# What MiniMax is sent for a request of model and prompt only.
PLAIN = {"model": "image-01", "prompt": PROMPT, "n": 1, "response_format": "url"}


def as_reference(image_file: str) -> list[dict[str, str]]:
    return [{"type": "character", "image_file": image_file}]


FACE_URL = "https://example.com/face.jpg?a=1&b=%2B"
FACE_REFERENCE = as_reference(data_url(JPEG))


@dataclass(frozen=True)
class Payload:
    """Fields of a request in addition to model and prompt, and what MiniMax is sent in addition to `PLAIN`.

    `fields` are those that the SDKs know. `extra` are the others: Python's `extra_body`, and in Node more
    members of the first argument.
    """

    name: str
    fields: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    sent: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


STYLE = {"style_type": "水彩", "style_weight": 0.5}

GENERATIONS = (
    Payload("nothing more"),
    Payload("size", {"n": 1, "size": "1024x1024"}, sent={"aspect_ratio": "1:1"}),
    Payload(
        "ratio, many, seed",
        {"n": 4, "response_format": "url"},
        {"aspect_ratio": "21:9", "seed": 20260430, "prompt_optimizer": True},
        {"n": 4, "aspect_ratio": "21:9", "seed": 20260430, "prompt_optimizer": True},
    ),
    Payload("false is not absent", extra={"prompt_optimizer": False}, sent={"prompt_optimizer": False}),
    Payload("base64, as MiniMax says it", extra={"response_format": "base64"}, sent={"response_format": "base64"}),
    Payload("nulls are absent", {"n": None, "size": None, "response_format": None, "style": None}, {"seed": None}),
    Payload(
        "reference by URL",
        {"n": 1, "size": "1024x1024"},
        {"subject_reference": as_reference(FACE_URL)},
        {"aspect_ratio": "1:1", "subject_reference": as_reference(FACE_URL)},
    ),
    Payload(
        "reference as data",
        extra={"subject_reference": FACE_REFERENCE},
        sent={"subject_reference": FACE_REFERENCE},
    ),
    Payload(
        "image_file as an array",
        extra={"subject_reference": [{"type": "character", "image_file": ["", data_url(JPEG)]}]},
        sent={"subject_reference": FACE_REFERENCE},
    ),
    Payload("style as an object", extra={"style": STYLE}, sent={"style": STYLE}),
    Payload("style, flat", extra=STYLE, sent={"style": STYLE}),
    Payload("watermark", extra={"watermark": True}, sent={"aigc_watermark": True}),
    Payload("extra_body in the body", extra={"extra_body": {"seed": -7}}, sent={"seed": -7}),
    Payload("DALL-E's fields", {"quality": "hd", "style": "vivid", "user": "u"}),
)

# Together with one uploaded file; every value is sent as the text of a form field.
EDITS = (
    Payload("nothing more"),
    Payload("n and size", {"n": 2, "size": "864x1152"}, sent={"n": 2, "aspect_ratio": "3:4"}),
    Payload("base64", {"response_format": "b64_json"}, sent={"response_format": "base64"}),
    Payload(
        "integers and booleans",
        extra={"seed": -20260430, "prompt_optimizer": True, "watermark": False},
        sent={"seed": -20260430, "prompt_optimizer": True, "aigc_watermark": False},
    ),
    Payload("ratio", {"size": "1024x1024"}, {"aspect_ratio": "9:16"}, {"aspect_ratio": "9:16"}),
    Payload("style as an object", extra={"style": STYLE}, sent={"style": STYLE}),
    Payload("style, flat", extra=STYLE, sent={"style": STYLE}),
    Payload(
        "extra_body as an object", extra={"extra_body": {"seed": 7, "style": STYLE}}, sent={"seed": 7, "style": STYLE}
    ),
    Payload("extra_body as JSON", extra={"extra_body": '{"seed": 7}'}, sent={"seed": 7}),
    Payload("OpenAI's fields", {"quality": "high", "background": "auto", "input_fidelity": "high", "user": "u"}),
)

# Instead of a file.
FORM_REFERENCES = (
    Payload(
        "by URL",
        extra={"subject_reference": as_reference(FACE_URL)},
        sent={"subject_reference": as_reference(FACE_URL)},
    ),
    Payload("as data", extra={"subject_reference": FACE_REFERENCE}, sent={"subject_reference": FACE_REFERENCE}),
    Payload(
        "image_file as an array",
        extra={"subject_reference": [{"type": "character", "image_file": [data_url(JPEG)]}]},
        sent={"subject_reference": FACE_REFERENCE},
    ),
    Payload(
        "as JSON",
        extra={"subject_reference": json.dumps(FACE_REFERENCE)},
        sent={"subject_reference": FACE_REFERENCE},
    ),
)


@dataclass(frozen=True)
class Error:
    """An SDK's error; `kind` is its class, which has the same name in both SDKs."""

    kind: str
    status: int | None = None  # None is a connection that failed
    code: str | None = None
    param: str | None = None
    type: str | None = ERROR_TYPE


@dataclass(frozen=True)
class UpstreamFailure:
    """MiniMax runs `script`, gets `calls` calls from a client with default retries, and the client raises `error`."""

    name: str
    script: Script
    calls: int
    error: Error
    message: str

    def __str__(self) -> str:
        return self.name


def _error_code(number: int, calls: int, kind: str, status: int, message: str) -> UpstreamFailure:
    # Retry-After shortens the retried cases, and must not cause retries in the others.
    script = respond(error_response(number, "the upstream message"), headers={"Retry-After": "1"})
    return UpstreamFailure(str(number), script, calls, Error(kind, status, str(number)), message)


_BAD_GATEWAY = b"<html><h1>502 Bad Gateway</h1></html>"
_INVALID_RESPONSE = Error("InternalServerError", 502, "upstream_invalid_answer")
_INTERRUPTED = Error("InternalServerError", 502, "upstream_interrupted")

PROTOCOL_ERRORS = (
    _error_code(1002, 3, "RateLimitError", 429, "rate limit reached (the upstream message)"),
    _error_code(1033, 3, "InternalServerError", 503, "a service behind MiniMax failed (the upstream message)"),
    _error_code(1008, 1, "RateLimitError", 429, "insufficient balance (the upstream message)"),
    _error_code(2056, 1, "RateLimitError", 429, "window is used up (the upstream message)"),
    _error_code(1026, 1, "PermissionDeniedError", 403, "sensitive (the upstream message)"),
    _error_code(2013, 1, "BadRequestError", 400, "invalid parameters (the upstream message)"),
    _error_code(1000, 1, "InternalServerError", 500, "internal error (the upstream message)"),
    _error_code(1001, 1, "InternalServerError", 503, "timed out (the upstream message)"),
    _error_code(1004, 1, "InternalServerError", 502, "the gateway's own MiniMax key was rejected"),
    _error_code(4242, 1, "InternalServerError", 502, "unknown error code (the upstream message)"),
    UpstreamFailure("reset", reset, 1, _INTERRUPTED, "may have been generated, and charged to the gateway"),
    UpstreamFailure(
        "half a response",
        half(error_response(0)),
        1,
        _INTERRUPTED,
        "may have been generated, and charged to the gateway",
    ),
    UpstreamFailure(
        "html", respond(_BAD_GATEWAY, headers={"Content-Type": "text/html"}), 1, _INVALID_RESPONSE, "not understood"
    ),
    UpstreamFailure("html, 502", respond(_BAD_GATEWAY, status=502), 1, _INVALID_RESPONSE, "HTTP status 502"),
    UpstreamFailure(
        "429 without a code",
        respond(b"slow down", status=429, headers={"Retry-After": "1"}),
        1,
        Error("RateLimitError", 429, "upstream_rate_limited"),
        "429 and no code",
    ),
)


@dataclass(frozen=True)
class InvalidField:
    """`fields` that make a valid request to generations invalid."""

    name: str
    fields: dict[str, Any]
    error: Error
    message: str

    def __str__(self) -> str:
        return self.name


def _invalid(param: str, value: Any, message: str) -> InvalidField:
    return InvalidField(
        f"{param}={value!r}", {param: value}, Error("BadRequestError", 400, "invalid_value", param), message
    )


LIVE = "MiniMax-Image-01-live"

INVALID_FIELDS = (
    _invalid("n", 10, "n must be from 1 to 9"),
    _invalid("n", 1.5, "n must be an integer"),
    _invalid("size", "1024×1024", "size must be WIDTHxHEIGHT"),
    _invalid("prompt", "  ", "prompt must not be empty"),
    _invalid("prompt", "a" * 1501, "at most 1500 characters, not 1501"),
    _invalid("response_format", "png", "b64_json"),
    _invalid("model", "dall-e-3", "served here: MiniMax-Image-01"),
    InvalidField(
        "live model",
        {"model": LIVE},
        Error("PermissionDeniedError", 403, "model_not_authorized", "model"),
        "MiniMax-Image-01-live is not enabled",
    ),
)
INVALID_FIELDS_IDS = [fault.name[:40] for fault in INVALID_FIELDS]

WRONG_KEY = Error("AuthenticationError", 401, "invalid_api_key")
UNKNOWN_MODEL = Error("NotFoundError", 404, "model_not_found", "model")
TWO_IMAGES = Error("BadRequestError", 400, "invalid_value", "image")
TOO_LARGE_IMAGE = TWO_IMAGES

# URLs with characters that a client or the gateway might decode, encode or cut.
AWKWARD_URLS = (
    "http://hailuo.oss-cn.example/image%2Finference_output/x.jpeg?Expires=1&OSSAccessKeyId=LTAI&Signature=a%2Bb%2F%3D",
    "http://images.example/a b/水彩.jpeg?q=<&>'\"+%20#fragment",
)


def large_jpeg(size: int) -> bytes:
    """`size` bytes that begin like a JPEG."""
    return JPEG.ljust(size, b"\0")


def pixels(jpeg: bytes) -> tuple[int, int]:
    """Width and height of a complete JPEG."""
    with Image.open(BytesIO(jpeg)) as image:
        image.load()
        assert image.format == "JPEG"
        return image.size


def has_reference(jpeg: bytes) -> bool:
    """Whether the sandbox put the orange `JPEG` of tests.support.images into the top right corner."""
    with Image.open(BytesIO(jpeg)) as image:
        at = image.width - 40 - 32, 40 + 32
        pixel = image.convert("RGB").getpixel(at)
    assert isinstance(pixel, tuple)
    return all(abs(value - wanted) < 16 for value, wanted in zip(pixel, (200, 120, 40), strict=True))


def new_request_id() -> str:
    return f"sdk-{uuid.uuid4().hex}"


def logged(served: Served, request_id: str) -> list[dict[str, Any]]:
    """The gateway's log lines about the requests with that id, one per request."""
    lines = [json.loads(line) for line in served.log.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("request_id") == request_id]


def statuses(served: Served, request_id: str) -> Counter[int]:
    return Counter(line["status"] for line in logged(served, request_id))
