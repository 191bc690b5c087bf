"""Builds the response body in OpenAI's shape from an `ImageResult`."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

from app.services.image_request import ImageRequest, ImageResult


def to_openai(result: ImageResult, request: ImageRequest, *, created: int) -> dict[str, Any]:
    """Return `{created, data, metadata}`. Each item of `data` has one key: some clients fail on an empty second one.

    A streamed image that is kept has its `url` beside. `created` is in unix seconds. `metadata` is MiniMax's own,
    absent if MiniMax sent none.
    """
    document: dict[str, Any] = {
        "created": created,
        "data": [
            {request.response_format: image} | ({"url": url} if url else {})
            for image, url in zip_longest(result.images, result.urls)
        ],
    }
    if result.metadata is not None:
        document["metadata"] = result.metadata
    return document
