"""Owns one drawing from request to answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from app.image_request import ImageRequest
from app.minimax.answer import Answer
from app.services.payload import build_payload


class Minimax(Protocol):
    """What the service needs of a client; raises `MinimaxError` for all but an answer with pictures."""

    def generate_images(self, payload: Mapping[str, Any]) -> Answer: ...


class ImageService:
    def __init__(self, minimax: Minimax) -> None:
        self._minimax = minimax

    def generate(self, request: ImageRequest) -> Answer:
        """Raises the `MinimaxError` of the call."""
        return self._minimax.generate_images(build_payload(request))
