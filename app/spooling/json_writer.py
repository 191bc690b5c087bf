"""JSON of a document with `SpooledText` leaves, written in chunks and of a length known beforehand."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from typing import Any

from app.spooling.spooled_text import SpooledText


class JsonBody:
    """A document as JSON bytes, with its `SpooledText` leaves copied in chunks.

    `len()` is in bytes: the Content-Length. It may be iterated more than once, and reads the spool each time.
    """

    def __init__(self, document: Any) -> None:
        """Raises TypeError for a value that JSON does not have, and ValueError for NaN and infinity."""
        leaves: dict[str, SpooledText] = {}

        def placeholder(value: Any) -> str:
            if not isinstance(value, SpooledText):
                raise TypeError(f"{type(value).__name__} cannot be written as JSON")
            name = uuid.uuid4().hex
            leaves[name] = value
            return name

        text = json.dumps(document, default=placeholder, allow_nan=False, separators=(",", ":"))
        pieces = re.split(f"({'|'.join(leaves)})", text) if leaves else [text]
        self._parts = [leaves.get(piece) or piece.encode() for piece in pieces]

    def __len__(self) -> int:
        return sum(part.json_size if isinstance(part, SpooledText) else len(part) for part in self._parts)

    def __iter__(self) -> Iterator[bytes]:
        for part in self._parts:
            if isinstance(part, SpooledText):
                yield from part.json_chunks()
            else:
                yield part
