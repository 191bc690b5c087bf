"""Owns what a caller gets on success: from MiniMax's answer to OpenAI's shape."""

from __future__ import annotations

from typing import Any

from app.services.image_request import ImageRequest, ImageResult


def to_openai(answer: ImageResult, request: ImageRequest, *, created: int) -> dict[str, Any]:
    """`{created, data, metadata}`; each item has one key, as some clients break on an empty second one.

    `created` is in unix seconds. `metadata` is MiniMax's own, absent where MiniMax sent none.
    """
    document: dict[str, Any] = {
        "created": created,
        "data": [{request.response_format: image} for image in answer.images],
    }
    if answer.metadata is not None:
        document["metadata"] = answer.metadata
    return document
