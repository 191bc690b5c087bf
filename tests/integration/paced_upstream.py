"""A fake MiniMax that counts the calls of each key in a sliding window by its own clock: 1002 above a rate."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.integration.raw_http import image_response
from tests.support.async_server import AsyncServer
from tests.support.fake_minimax import error_response

Key = str


@dataclass
class Arrival:
    """A call, begun if its `code` is 0. `at` is on the monotonic clock; `path` tells instances apart."""

    key: Key
    at: float
    path: str
    prompt: str
    code: int


@dataclass
class PacedUpstream(AsyncServer):
    """`rate` is how many calls a key may begin in any `window` seconds, 0 for any number.

    `codes` are what MiniMax answers to all calls of a key.
    """

    rate: int
    window: float
    seconds: float = 0.02  # how long a call takes
    arrivals: list[Arrival] = field(default_factory=list)
    codes: dict[Key, int] = field(default_factory=dict)
    _begun: dict[Key, list[float]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        super().__init__()

    @property
    def begun(self) -> list[Arrival]:
        return [arrival for arrival in list(self.arrivals) if not arrival.code]

    @property
    def refused(self) -> list[Arrival]:
        return [arrival for arrival in list(self.arrivals) if arrival.code]

    def begun_between(self, first: float, last: float) -> int:
        return sum(first <= arrival.at < last for arrival in self.begun)

    def busiest(self, *, since: float = 0, until: float = float("inf"), path: str = "") -> int:
        """The most calls of any key, refused ones too, that arrived within any window."""
        times = defaultdict(list)
        for arrival in list(self.arrivals):
            if since <= arrival.at < until and arrival.path.startswith(path):
                times[arrival.key].append(arrival.at)
        return max((sum(at <= x < at + self.window for x in each) for each in times.values() for at in each), default=0)

    def by_key(self) -> Counter[Key]:
        return Counter(arrival.key for arrival in self.begun)

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            at = time.monotonic()
            line, *lines = head.split("\r\n")[:-2]
            fields = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)}
            prompt = json.loads(await reader.readexactly(int(fields["content-length"])))["prompt"]
            arrival = self._admit(fields["authorization"].removeprefix("Bearer "), at, line.split()[1], prompt)
            if not arrival.code:
                await asyncio.sleep(self.seconds)
            writer.write(self._response(arrival))
            await writer.drain()

    def _admit(self, key: Key, at: float, path: str, prompt: str) -> Arrival:
        recent = self._begun[key] = [begun for begun in self._begun[key] if begun > at - self.window]
        is_above = bool(self.rate) and len(recent) >= self.rate
        arrival = Arrival(key, at, path, prompt, self.codes.get(key, 1002 if is_above else 0))
        if not arrival.code:
            recent.append(at)
        self.arrivals.append(arrival)
        return arrival

    def _response(self, arrival: Arrival) -> bytes:
        body = json.dumps(error_response(arrival.code)).encode() if arrival.code else image_response(arrival.prompt)
        rest = b"Retry-After: 1\r\n" if arrival.code == 1002 else b""
        return b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s" % (rest, len(body), body)


@contextmanager
def paced_upstream(rate: int, window: float) -> Iterator[PacedUpstream]:
    upstream = PacedUpstream(rate, window)
    try:
        yield upstream
    finally:
        upstream.close()
