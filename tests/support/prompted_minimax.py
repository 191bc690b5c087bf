"""A fake MiniMax that responds as each prompt says, so that tests of many kinds of calls can run at once."""

from __future__ import annotations

import base64
import functools
import itertools
import json
import os
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.fake_minimax import FakeMinimax, Received, Script, error_response, half, raw, reset, respond, success
from tests.support.images import JPEG

LARGE_BYTES = 15 * 1024 * 1024  # of base64, in all images of a response together
HELD_SECONDS = 60  # until a test that holds a call has failed

Drawn = dict[str, Any]
KINDS: dict[str, Callable[[Drawn], Script]] = {
    "good": respond,
    "withheld": lambda _: respond(success(0, failed=1)),
    "server_error": lambda _: respond(b"", status=500),
    "reset": lambda _: reset,
    "half": half,
    "nonsense": lambda _: raw(b"nonsense\r\n\r\n", then_close=True),
}


def new_prompt(kind: str, seconds: float = 0) -> str:
    """A prompt that no other call has.

    `kind` is one of `KINDS`, a number of MiniMax's, `large`, or two of these such as `1002-then-good`: the first for
    the first call of the prompt, the second for later ones. The response is sent after `seconds`.
    """
    return f"{kind}@{seconds} {uuid.uuid4().hex}"


class PromptedMinimax(FakeMinimax):
    """Every image has a URL, or bytes, of its own."""

    def __init__(self, port: int = 0) -> None:
        self._images = itertools.count()
        self._calls: Counter[str] = Counter()
        self._held: dict[str, threading.Event] = {}
        self._lock = threading.Lock()
        super().__init__(port)

    def calls(self, prompt: str) -> int:
        """How often MiniMax was called with this prompt."""
        return self._calls[prompt]

    @contextmanager
    def holding(self, prompt: str) -> Iterator[None]:
        """Respond to calls with this prompt only after the end of the context."""
        self._held[prompt] = threading.Event()
        try:
            yield
        finally:
            self._held.pop(prompt).set()

    def respond_to(self, request: Received, connection: socket.socket) -> None:
        prompt: str = request.json["prompt"]
        with self._lock:
            is_first = self._calls[prompt] == 0
            self._calls[prompt] += 1
        kinds, _, seconds = prompt.split()[0].partition("@")
        first, _, then = kinds.partition("-then-")
        time.sleep(float(seconds or 0))
        if held := self._held.get(prompt):
            held.wait(HELD_SECONDS)
        self._script(first if is_first or not then else then, request.json)(connection)

    def _script(self, kind: str, payload: dict[str, Any]) -> Script:
        if kind.isdecimal():
            return respond(error_response(int(kind)))
        if kind == "large":
            return respond(_large(payload["n"]))
        return KINDS[kind](self._draw(payload))

    def _draw(self, payload: dict[str, Any]) -> Drawn:
        numbers = [next(self._images) for _ in range(payload["n"])]
        document = success(len(numbers))
        if payload["response_format"] == "base64":
            images = [base64.b64encode(JPEG + b"%d" % number).decode() for number in numbers]
            return document | {"data": {"image_base64": images}}
        return document | {"data": {"image_urls": [f"http://images.example/{number}.jpeg" for number in numbers]}}


@functools.cache
def _large(n: int) -> bytes:
    image = JPEG + os.urandom(LARGE_BYTES * 3 // 4 // n)
    document = success(n) | {"data": {"image_base64": [base64.b64encode(image).decode()] * n}}
    return json.dumps(document).encode()


@contextmanager
def start_prompted_minimax(port: int = 0) -> Iterator[PromptedMinimax]:
    server = PromptedMinimax(port)
    try:
        yield server
    finally:
        server.close()
