"""Owns one drawing from request to answer, and the bound on how many run at once."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Protocol

from app.errors import GatewayFull
from app.image_request import ImageRequest
from app.minimax.answer import Answer
from app.services.payload import build_payload


class Minimax(Protocol):
    """What the service needs of a client; raises `MinimaxError` for all but an answer with pictures."""

    def generate_images(self, payload: Mapping[str, Any]) -> Answer: ...


class ImageService:
    def __init__(self, minimax: Minimax, max_calls: int) -> None:
        """`max_calls` is the number of upstream calls in flight at once in this process."""
        self._minimax = minimax
        self._slots = threading.BoundedSemaphore(max_calls)

    def generate(self, request: ImageRequest) -> Answer:
        """Raises `GatewayFull` where no slot is free (nothing was sent), or the `MinimaxError` of the call."""
        if not self._slots.acquire(blocking=False):
            raise GatewayFull
        try:
            return self._minimax.generate_images(build_payload(request))
        finally:
            self._slots.release()
