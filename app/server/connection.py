"""Owns how long a caller may take to send a request, and then to take its answer.

gunicorn's threads have no such bound, so that slow or vanished callers would take them all. The bound is on the whole
of a request, not on each read: whoever drips bytes is slow too.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from gunicorn.http.errors import NoMoreData

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class TooSlow(NoMoreData, TimeoutError):  # type: ignore[misc]
    """A caller's time is up. gunicorn hangs up on it without a word; our own code tells it apart as a timeout."""

    def __init__(self) -> None:
        super().__init__(b"")


class CallersSocket(socket.socket):
    """A connection that raises `TooSlow` once its request, or its answer, takes longer than `seconds` in all."""

    seconds: float = 0
    _receive_by: float = 0
    _send_by: float = 0

    @classmethod
    def adopt(cls, connection: socket.socket, seconds: float) -> Self:
        """Takes the place of `connection`, which is of no use afterwards."""
        adopted = cls(fileno=connection.detach())
        adopted.seconds = seconds
        return adopted

    def expect_request(self) -> None:
        """Starts the clock of a new request."""
        self._receive_by = time.monotonic() + self.seconds
        self._send_by = 0

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        with self._until(self._receive_by):
            return super().recv(size, flags)

    def sendall(self, data: ReadableBuffer, flags: int = 0, /) -> None:
        self._send_by = self._send_by or time.monotonic() + self.seconds
        with self._until(self._send_by):
            super().sendall(data, flags)

    @contextmanager
    def _until(self, moment: float) -> Iterator[None]:
        if self.gettimeout() is not None:  # gunicorn has set one of its own, as for the last seconds of a connection
            yield
            return
        left = moment - time.monotonic()
        if left <= 0:
            raise TooSlow
        self.settimeout(left)
        try:
            yield
        except TimeoutError as error:
            raise TooSlow from error
        finally:
            self.settimeout(None)
