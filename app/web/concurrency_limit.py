"""Concurrency limit per worker."""

from __future__ import annotations

from flask import Response, after_this_request
from gevent.lock import BoundedSemaphore

from app import metrics
from app.errors import GatewayFull

# A caller that has read its whole response may send its next call before the slot of the last one is released.
ACQUIRE_TIMEOUT_SECONDS = 0.05


class ConcurrencyLimit:
    """Number of image calls that one worker process handles at the same time."""

    def __init__(self, count: int) -> None:
        self._free = BoundedSemaphore(count)

    def acquire(self) -> None:
        """A `before_request` hook that holds a slot until the response is sent.

        Raises `GatewayFull` before the body is read.
        """
        if not self._free.acquire(timeout=ACQUIRE_TIMEOUT_SECONDS):
            metrics.REJECTED_FULL.inc()
            raise GatewayFull
        metrics.IN_FLIGHT.inc()

        @after_this_request
        def release_on_close(response: Response) -> Response:
            response.call_on_close(self._release)
            return response

    def _release(self) -> None:
        metrics.IN_FLIGHT.dec()
        self._free.release()
