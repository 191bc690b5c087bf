"""`ImageRequest`, a validated request, and `ImageResult`, the images of a provider."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from app.model_catalog import Model, ResponseFormat
from app.spooling.spooled_text import SpooledText


@dataclass(frozen=True)
class Style:
    """`style_type` is one of MiniMax's Chinese literals; `style_weight` is in (0, 1]."""

    style_type: str
    style_weight: float | None = None


@dataclass(frozen=True)
class ImageRequest:
    """One valid request in MiniMax's terms. None means that the caller left a field out.

    `prompt` has 1 to 1500 code points, `n` is 1 to 9, `seed` fits in 64 bits, `aspect_ratio` is one of the model's
    ratios. `subject_reference` is an http(s) URL, or a checked data URL that may lie in a spool. `width` and `height`
    are in pixels and set only if they are to be forwarded. `stream` says that the response is an event stream, and goes
    with `b64_json`. `ignored` names the caller's fields that have no effect.
    """

    model: Model
    prompt: str
    n: int
    response_format: ResponseFormat
    aspect_ratio: str | None = None
    seed: int | None = None
    prompt_optimizer: bool | None = None
    watermark: bool | None = None
    style: Style | None = None
    subject_reference: str | SpooledText | None = None
    width: int | None = None
    height: int | None = None
    stream: bool = False
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True)
class ImageResult:
    """What a provider delivered: at least one image, each an http(s) URL or bare base64, as requested.

    `metadata` is the provider's own, None if it sent none. `trace_id` is the provider's id of the call, `upstream_ms`
    the duration of the call in milliseconds. Large images lie in a spool until `close` is called.
    `urls` are where streamed images are kept, None for one that is not; empty where none is.
    `image_store_failed` is True if an image should have been kept and could not be.
    """

    images: tuple[str | SpooledText, ...]
    metadata: Mapping[str, Any] | None
    trace_id: str | None
    upstream_ms: int
    close: Callable[[], None] = lambda: None
    image_store_failed: bool = False
    urls: tuple[str | None, ...] = ()
