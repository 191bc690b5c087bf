"""Owns how long a caller may take to send a request, and then to take its answer.

gunicorn's threads have no such bound, so that slow or vanished callers would take them all. The bound is on the whole
of a request, not on each read: whoever drips bytes is slow too.
"""

from __future__ import annotations

import socket
import struct
import time
from typing import TYPE_CHECKING, Self

from gunicorn.http.errors import NoMoreData

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class ClientTimeout(NoMoreData, TimeoutError):  # type: ignore[misc]
    """A caller's time is up. gunicorn hangs up on it without a word; our own code tells it apart as a timeout."""

    def __init__(self) -> None:
        super().__init__(b"")


class DeadlineSocket(socket.socket):
    """A connection that raises `ClientTimeout` once its request, or its answer, takes longer than `seconds` in all."""

    seconds: float = 0
    _receive_by: float = 0
    _send_by: float = 0

    @classmethod
    def adopt(cls, connection: socket.socket, seconds: float) -> Self:
        """Takes the place of `connection`, which is of no use afterwards."""
        adopted = cls(fileno=connection.detach())
        adopted.seconds = seconds
        return adopted

    def start_request_deadline(self) -> None:
        """Starts the clock of a new request."""
        self._receive_by = time.monotonic() + self.seconds
        self._send_by = 0

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        if self._is_gunicorns():
            return super().recv(size, flags)
        self._limit(socket.SO_RCVTIMEO, self._receive_by)
        try:
            return super().recv(size, flags)
        except BlockingIOError as error:
            raise ClientTimeout from error

    def sendall(self, data: ReadableBuffer, flags: int = 0, /) -> None:
        if self._is_gunicorns():
            return super().sendall(data, flags)
        self._send_by = self._send_by or time.monotonic() + self.seconds
        left = memoryview(data)
        try:
            while left:
                self._limit(socket.SO_SNDTIMEO, self._send_by)
                left = left[super().send(left, flags) :]
        except BlockingIOError as error:
            raise ClientTimeout from error

    def _is_gunicorns(self) -> bool:
        """Whether gunicorn has set a timeout of its own, as for the last seconds of a connection."""
        return self.gettimeout() is not None

    def _limit(self, option: int, moment: float) -> None:
        # The kernel's own timeout: Python's would cost a poll, and the interpreter's lock twice, for each call.
        left = moment - time.monotonic()
        if left <= 0:
            raise ClientTimeout
        self.setsockopt(socket.SOL_SOCKET, option, struct.pack("@ll", int(left), int(left % 1 * 1e6) or 1))
