"""Builds the JSON body of `POST /v1/image_generation` from an `ImageRequest`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from app.services.image_request import ImageRequest

RESPONSE_FORMATS = {"url": "url", "b64_json": "base64"}


def build_payload(request: ImageRequest) -> dict[str, Any]:
    """Return MiniMax's fields. What the caller left out is absent. A large reference image is a `SpooledText`."""
    reference, style = request.subject_reference, request.style
    payload = {
        "model": request.model.upstream_id,
        "prompt": request.prompt,
        "n": request.n,
        "response_format": RESPONSE_FORMATS[request.response_format],
        "aspect_ratio": request.aspect_ratio,
        "seed": request.seed,
        "prompt_optimizer": request.prompt_optimizer,
        "aigc_watermark": request.watermark,
        "style": _without_none(asdict(style)) if style else None,
        "subject_reference": [{"type": "character", "image_file": reference}] if reference else None,
        "width": request.width,
        "height": request.height,
    }
    return _without_none(payload)


def _without_none(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
