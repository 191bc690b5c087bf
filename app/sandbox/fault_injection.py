"""Owns the words in a prompt that make the sandbox fail: `sandbox:1026`, `sandbox:slow=3`, `sandbox:half`, …"""

from __future__ import annotations

import json
import os
import re
import socket
import struct
from dataclasses import dataclass
from typing import Any

_WORD = re.compile(r"sandbox:(?P<word>[\w.=-]*\w)")
_KNOWN = re.compile(
    r"(?P<code>[0-9]{1,5})|(?P<fault>html|reset|half)|(?P<name>slow|withheld)(?:=(?P<value>[0-9]{1,4}(?:\.[0-9]+)?))?",
    re.ASCII,
)


class UnknownFault(ValueError):
    """A word that means nothing here; the message says which do.

    It quotes nothing of the prompt: the gateway would not pass it on.
    """

    def __init__(self) -> None:
        super().__init__("a sandbox word is none of CODE, slow=SECONDS, withheld=PICTURES, html, reset, half")


@dataclass(frozen=True)
class InjectedFaults:
    """What to do instead of drawing well: `slow` in seconds, `withheld` in pictures, `fault` on the wire."""

    code: int | None = None
    slow: float = 0.0
    withheld: int = 0
    fault: str | None = None

    @classmethod
    def of(cls, prompt: str) -> InjectedFaults:
        """Raises `UnknownFault`: one that is misspelt would be taken for a rehearsal that went well."""
        code, numbers, fault = None, {"slow": 0.0, "withheld": 0.0}, None
        for word in _WORD.findall(prompt):
            known = _KNOWN.fullmatch(word)
            if known is None:
                raise UnknownFault
            if known["code"]:
                code = int(known["code"])
            elif known["name"]:
                numbers[known["name"]] = float(known["value"] or 1)
            else:
                fault = known["fault"]
        return cls(code=code, slow=numbers["slow"], withheld=int(numbers["withheld"]), fault=fault)


def break_connection(environ: dict[str, Any], fault: str) -> None:
    """Ends the caller's connection with a reset, or in the middle of an answer, behind the server's back."""
    connection: socket.socket = environ.get("gunicorn.socket") or environ["werkzeug.socket"]
    if fault == "half":
        body = json.dumps({"id": "half", "data": {"image_urls": ["http://127.0.0.1/"]}}).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {2 * len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        connection.shutdown(socket.SHUT_RDWR)
    else:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # The server still holds this descriptor: it gets a dead line to speak into, and the real one is reset.
        dead, other_end = socket.socketpair()
        other_end.close()
        os.dup2(dead.fileno(), connection.fileno())
        dead.close()
