"""Client socket with a deadline for the request, one for the response, and a lingering close.

The deadlines are for a whole request and a whole response, not for each read or write, so that a client that sends or
takes one byte at a time is closed too. The response's counts the time in which the client does not take what is sent,
so that a stream may be silent for longer.
"""

from __future__ import annotations

import contextlib
import time
from socket import SHUT_RD, SHUT_WR
from typing import TYPE_CHECKING

import gevent.socket
from gunicorn.http.errors import NoMoreData

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable

MAX_JOINED_BYTES = 64 * 1024  # of a head and the first part of its body
LINGER_SECONDS = 2.0  # how long a close waits for a client that is still sending


class ClientTimeout(NoMoreData, TimeoutError):  # type: ignore[misc]
    """A deadline of the client has passed. gunicorn closes the connection on `NoMoreData` without a response."""

    def __init__(self) -> None:
        super().__init__(b"")


class DeadlineSocket(gevent.socket.socket):  # type: ignore[misc]
    """A client connection. `recv` and `sendall` raise `ClientTimeout` once a deadline has passed.

    While `is_idle`, the connection waits for the first byte of a request, for `keepalive` seconds. From that byte on
    the whole request must arrive within `seconds`. Sending the whole response may block for as long; the time between
    two parts, in which the client waits for the gateway, does not count.
    """

    def __init__(self, connection: socket.socket, *, seconds: float, keepalive: float, max_drain_bytes: int) -> None:
        """Takes over the descriptor of `connection`, which cannot be used afterwards."""
        super().__init__(fileno=connection.detach())
        self.seconds = seconds
        self.max_drain_bytes = max_drain_bytes
        self._keepalive = keepalive
        self._wait_is_over = False
        self.expect_request()

    def expect_request(self) -> None:
        """Start waiting for a request."""
        self.is_idle = True
        self._receive_by = time.monotonic() + self._keepalive
        self._send_seconds = self.seconds  # left
        self._has_head = False
        self._head = b""

    def limit_request(self, seconds: float) -> None:
        """Give the rest of the request at most `seconds`."""
        self._receive_by = min(self._receive_by, time.monotonic() + seconds)

    def recv(self, size: int, flags: int = 0) -> bytes:
        self._set_timeout(self._receive_by)
        try:
            data: bytes = super().recv(size, flags)
        except TimeoutError as error:
            raise ClientTimeout from error
        except OSError:
            if self._wait_is_over:  # gevent interrupts the wait with an error
                return b""
            raise
        if self.is_idle:
            self.is_idle = False
            self._receive_by = time.monotonic() + self.seconds
        return data

    def sendall(self, data: bytes, flags: int = 0) -> None:
        """Send the rest of a response. Its head, the first that is sent, waits for the body or `flush`.

        gunicorn writes the two one by one, which would be two packets, and wake the client twice.
        """
        if not self._has_head:
            self._has_head = True
            self._head = data
            return
        head, self._head = self._head, b""
        self._send(head + data if len(head) + len(data) <= MAX_JOINED_BYTES else head, flags)
        if len(head) + len(data) > MAX_JOINED_BYTES:
            self._send(data, flags)

    def flush(self) -> None:
        """Send the head of a response that has no body."""
        head, self._head = self._head, b""
        self._send(head)

    def _send(self, data: bytes, flags: int = 0) -> None:
        if not data:
            return
        started = time.monotonic()
        self._set_timeout(started + self._send_seconds)
        try:
            super().sendall(data, flags)
        except TimeoutError as error:
            raise ClientTimeout from error
        finally:
            self._send_seconds -= time.monotonic() - started

    def stop_waiting(self) -> None:
        """End the wait for a request: a pending `recv` returns an empty string, and the connection is closed."""
        self._wait_is_over = True
        with contextlib.suppress(OSError):
            self.shutdown(SHUT_RD)

    def close(self) -> None:
        """Lingering close: a reset would discard the response that a client, still sending, has not read yet."""
        with contextlib.suppress(OSError):
            self.flush()
            self.shutdown(SHUT_WR)
            self._drain()
        super().close()

    def _drain(self) -> None:
        deadline, left = time.monotonic() + LINGER_SECONDS, self.max_drain_bytes
        while left > 0:
            self._set_timeout(deadline)
            data = super().recv(64 * 1024)
            if not data:
                return
            left -= len(data)

    def _set_timeout(self, deadline: float) -> None:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise ClientTimeout
        self.settimeout(remaining)


def stop_idle(connections: Iterable[DeadlineSocket]) -> None:
    """Close the connections that wait for a request."""
    for connection in list(connections):
        if connection.is_idle:
            connection.stop_waiting()
