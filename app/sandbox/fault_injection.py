"""Fault injection: words in a prompt make the sandbox fail: `sandbox:1026`, `sandbox:slow=3`, `sandbox:half`, …"""

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
    """A `sandbox:` word that is not known. The message lists those that are.

    It does not quote the prompt, as the gateway would then not pass the message on.
    """

    def __init__(self) -> None:
        super().__init__("a sandbox word is none of CODE, slow=SECONDS, withheld=IMAGES, html, reset, half")


@dataclass(frozen=True)
class InjectedFaults:
    """Faults of one response.

    `code` is MiniMax's, `slow` a delay in seconds, `withheld` a number of images, `fault` one of html, reset, half.
    """

    code: int | None = None
    slow: float = 0.0
    withheld: int = 0
    fault: str | None = None

    @classmethod
    def of(cls, prompt: str) -> InjectedFaults:
        """Return the faults that `prompt` asks for.

        Raises `UnknownFault` for a misspelt word, which would otherwise pass for a fault that was handled.
        """
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
    """End the connection with a reset, or in the middle of the response (`fault` "half"), bypassing the WSGI server."""
    connection: socket.socket = environ.get("gunicorn.socket") or environ["werkzeug.socket"]
    if fault == "half":
        body = json.dumps({"id": "half", "data": {"image_urls": ["http://127.0.0.1/"]}}).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {2 * len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        connection.shutdown(socket.SHUT_RDWR)
    else:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Closing the descriptor resets the connection. The server still uses the number: it gets a closed socket.
        closed, other_end = socket.socketpair()
        other_end.close()
        os.dup2(closed.fileno(), connection.fileno())
        closed.close()
