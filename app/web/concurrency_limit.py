"""Concurrency limit per worker."""

from __future__ import annotations

from flask import Response, after_this_request, g
from gevent.lock import BoundedSemaphore

from app import metrics
from app.errors import GatewayFull

# A caller that has read its whole response may send its next call before the slot of the last one is released.
ACQUIRE_TIMEOUT_SECONDS = 0.05


class Slot:
    """A place among the calls in flight. It is free again when all who hold it have released it."""

    def __init__(self, free: BoundedSemaphore) -> None:
        self._free = free
        self._holders = 1
        metrics.IN_FLIGHT.inc()

    def hold(self) -> None:
        self._holders += 1

    def release(self) -> None:
        self._holders -= 1
        if self._holders == 0:
            metrics.IN_FLIGHT.dec()
            self._free.release()


class ConcurrencyLimit:
    """Number of image calls that one worker process handles at the same time."""

    def __init__(self, count: int) -> None:
        self._free = BoundedSemaphore(count)

    def acquire(self) -> None:
        """A `before_request` hook that holds a slot until the response is sent, and longer where `hold_slot` is called.

        Raises `GatewayFull` before the body is read.
        """
        if not self._free.acquire(timeout=ACQUIRE_TIMEOUT_SECONDS):
            metrics.REJECTED_FULL.inc()
            raise GatewayFull
        slot = g.slot = Slot(self._free)

        @after_this_request
        def release_on_close(response: Response) -> Response:
            response.call_on_close(slot.release)
            return response


def hold_slot() -> Slot:
    """Hold the slot of the current request for a call that outlasts it; the caller releases it."""
    slot: Slot = g.slot
    slot.hold()
    return slot
