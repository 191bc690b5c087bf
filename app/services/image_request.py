"""Owns `ImageRequest`: what validation ends in, and all that the rest of the way sees of a request."""

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
    """One valid request, already in MiniMax's terms. None means that the caller left a field out.

    `aspect_ratio` is one of the eight; `subject_reference` an http(s) URL or a data URL; `width` and `height`
    (pixels) are set only where they are to be forwarded; `ignored` names the caller's fields without effect.
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
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True)
class ImageResult:
    """What a provider delivered: at least one image, each a URL or bare base64 as asked.

    `metadata` is the provider's own, `upstream_ms` the duration of the call in milliseconds. Large images lie in a
    spool file until `close` is called.
    """

    images: tuple[str | SpooledText, ...]
    metadata: Mapping[str, Any] | None
    trace_id: str | None
    upstream_ms: int
    close: Callable[[], None] = lambda: None
