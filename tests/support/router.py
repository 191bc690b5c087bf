"""A router with short timeouts between clients and gateways, as platforms have: Heroku's 30 s and 55 s, compressed."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from tests.support.async_server import AsyncServer

FIRST_BYTE = "no first byte"
SILENCE = "silence"
_H12 = b"H12 Request timeout\n"
_TIMED_OUT = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_H12), _H12)
)
_CONNECTION = re.compile(rb"^connection:.*\r\n", re.IGNORECASE | re.MULTILINE)


class Router(AsyncServer):
    """Forwards each request on a connection of its own, to the gateways in turn, and streams both ways.

    It cuts a call after `first_byte_seconds` without a first byte, with a 503 of its own, and a running response after
    `silence_seconds` without a byte. `requests` counts what arrived; `cuts` has `FIRST_BYTE` or `SILENCE` for each cut.
    If the router has cut a call, or its client has left, `closes_origin` decides what the gateway sees: a closed
    connection (nginx, AWS), or one that stays open until the gateway has answered, and whose answer nobody gets.
    """

    def __init__(
        self, *gateway_urls: str, closes_origin: bool, first_byte_seconds: float = 3, silence_seconds: float = 5
    ) -> None:
        self.requests = 0
        self.cuts: list[str] = []
        self._gateways = itertools.cycle(urlsplit(url) for url in gateway_urls)
        self._closes_origin = closes_origin
        self._first_byte_seconds = first_byte_seconds
        self._silence_seconds = silence_seconds
        self._left_open: set[asyncio.Task[None]] = set()
        super().__init__()

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.requests += 1
        gateway = next(self._gateways)
        origin_reader, origin_writer = await asyncio.open_connection(gateway.hostname, gateway.port)
        origin_writer.write(_without_keepalive(head))
        # The client sends nothing after its request, so that the upload ends when the client has left.
        upload = asyncio.create_task(_pump(reader, origin_writer))
        download = asyncio.create_task(self._download(origin_reader, writer))
        try:
            await asyncio.wait((upload, download), return_when=asyncio.FIRST_COMPLETED)
        finally:
            is_complete = download.done() and download.result()
            for task in (upload, download):
                task.cancel()
            await asyncio.wait((upload, download))
        if is_complete or self._closes_origin:
            origin_writer.close()
        else:
            self._left_open.add(asyncio.create_task(_drain(origin_reader, origin_writer)))

    async def _download(self, origin: asyncio.StreamReader, client: asyncio.StreamWriter) -> bool:
        """Pass the response on. Returns whether all of it came in time."""
        seconds, reason = self._first_byte_seconds, FIRST_BYTE
        with contextlib.suppress(OSError):
            while True:
                try:
                    data = await asyncio.wait_for(origin.read(65536), seconds)
                except TimeoutError:
                    self.cuts.append(reason)
                    if reason == FIRST_BYTE:
                        client.write(_TIMED_OUT)
                        await client.drain()
                    return False
                if not data:
                    return True
                client.write(data)
                await client.drain()
                seconds, reason = self._silence_seconds, SILENCE
        return False


def _without_keepalive(head: bytes) -> bytes:
    """The gateway closes the connection after its response, so that the router need not parse the response."""
    line, _, fields = head.partition(b"\r\n")
    return line + b"\r\nConnection: close\r\n" + _CONNECTION.sub(b"", fields)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


async def _drain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while await reader.read(65536):
            pass
    writer.close()


@contextmanager
def router(*gateway_urls: str, closes_origin: bool = True) -> Iterator[Router]:
    server = Router(*gateway_urls, closes_origin=closes_origin)
    try:
        yield server
    finally:
        server.close()
