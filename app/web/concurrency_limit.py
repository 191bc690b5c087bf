"""Owns how many image calls one worker holds at once: the next one is refused at the door."""

from __future__ import annotations

import threading

from flask import Response, after_this_request

from app import metrics
from app.errors import GatewayFull

# A caller that has its whole answer may send its next call before the slot of the last one is back.
ACQUIRE_TIMEOUT_SECONDS = 0.05


class ConcurrencyLimit:
    def __init__(self, count: int) -> None:
        self._free = threading.BoundedSemaphore(count)

    def take(self) -> None:
        """A `before_request`: a slot until the answer is sent. Raises `GatewayFull` before the body is read."""
        if not self._free.acquire(timeout=ACQUIRE_TIMEOUT_SECONDS):
            metrics.REJECTED_FULL.inc()
            raise GatewayFull
        metrics.IN_FLIGHT.inc()

        @after_this_request
        def hold(response: Response) -> Response:
            response.call_on_close(self._give_back)
            return response

    def _give_back(self) -> None:
        metrics.IN_FLIGHT.dec()
        self._free.release()
