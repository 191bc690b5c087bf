"""Servers that fail below HTTP: they act once a connection is accepted, with or without TLS."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Act = Callable[["Connection"], None]


class Connection:
    """One accepted connection; what it reads goes into the listener's `received`."""

    def __init__(self, sock: socket.socket, received: bytearray) -> None:
        self.socket = sock
        self._received = received

    def read(self, size: int = 65536) -> bytes:
        data = self.socket.recv(size)
        self._received += data
        return data

    def read_request(self) -> None:
        """Read to the end of a request with a small body."""
        start = len(self._received)
        while b"\r\n\r\n{" not in self._received[start:] or not self._received.endswith(b"}"):
            if not self.read():
                return


class Listener:
    """`received` holds all bytes, decrypted if TLS is used; a failed handshake leaves it empty."""

    def __init__(self, act: Act, tls: ssl.SSLContext | None = None, receive_buffer: int | None = None) -> None:
        self.received = bytearray()
        self.connections = 0
        self._act = act
        self._tls = tls
        self._listener = socket.socket()
        if receive_buffer:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(64)
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    def url(self, scheme: str = "http", host: str = "127.0.0.1") -> str:
        return f"{scheme}://{host}:{self.port}"

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._open:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self.connections += 1
                thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, sock: socket.socket) -> None:
        with suppress(OSError), sock:  # an SSLError is an OSError too
            self._open.append(sock)
            if self._tls is None:
                self._act(Connection(sock, self.received))
                return
            with self._tls.wrap_socket(sock, server_side=True) as encrypted:
                self._open.append(encrypted)
                self._act(Connection(encrypted, self.received))


@contextmanager
def listening(act: Act, *, tls: ssl.SSLContext | None = None, receive_buffer: int | None = None) -> Iterator[Listener]:
    listener = Listener(act, tls, receive_buffer)
    try:
        yield listener
    finally:
        listener.close()


@contextmanager
def refusing_port() -> Iterator[str]:
    """The URL of a port that is bound but refuses every connection."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
