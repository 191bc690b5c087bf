"""Owns texts too large to copy about: where one lies and how long it is, in place of a `str`.

They stand as leaves in otherwise ordinary documents: a reference image on its way to MiniMax, pictures on their way
back. Each is printable ASCII without quotes and backslashes, so that it is its own spelling in JSON.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterator
from dataclasses import dataclass

from app.spooling.spool import Spool


@dataclass(frozen=True)
class SpooledText:
    """`prefix`, then `size` bytes of `spool` from `start` on. `len()` is in characters, which are bytes here."""

    spool: Spool
    start: int
    size: int
    prefix: str = ""

    def __len__(self) -> int:
        return len(self.prefix) + self.size

    def __str__(self) -> str:
        return b"".join(self.chunks()).decode("ascii")

    def head(self, size: int) -> str:
        """The first `size` characters of the spooled part."""
        return self._spell(self.spool.read(self.start, min(size, self.size))).decode("ascii")

    def skip(self, size: int) -> SpooledText:
        """The spooled part but for its first `size` bytes."""
        return SpooledText(self.spool, self.start + size, self.size - size)

    def chunks(self) -> Iterator[bytes]:
        if self.prefix:
            yield self.prefix.encode("ascii")
        for chunk in self.spool.chunks(self.start, self.size):
            yield self._spell(chunk)

    @staticmethod
    def _spell(chunk: bytes) -> bytes:
        return chunk


class Base64Text(SpooledText):
    """`prefix`, then the base64 of those bytes."""

    def __len__(self) -> int:
        return len(self.prefix) + (self.size + 2) // 3 * 4

    @staticmethod
    def _spell(chunk: bytes) -> bytes:
        return binascii.b2a_base64(chunk, newline=False)
