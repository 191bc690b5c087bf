"""`SpooledText`: a long string that lies in a spool file.

Spooled texts are leaves of otherwise ordinary documents: a reference image on its way to MiniMax, images on their way
back. Each is printable ASCII without quotes and backslashes, so that JSON holds it without escapes.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterator
from dataclasses import dataclass

from app.spooling.spool import Spool

BASE64_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"  # RFC 4648 section 4


@dataclass(frozen=True)
class SpooledText:
    """`prefix`, then `size` bytes of `spool` from offset `start`. `len()` is in characters, which are bytes here.

    `outside_base64` holds the bytes of the spooled part that are not in `BASE64_ALPHABET`, in their order; padding is
    among them. None means that nobody has looked, or that there are too many to keep.
    """

    spool: Spool
    start: int
    size: int
    prefix: str = ""
    outside_base64: bytes | None = None

    def __len__(self) -> int:
        return len(self.prefix) + self.size

    def __str__(self) -> str:
        return b"".join(self.chunks()).decode("ascii")

    def head(self, size: int) -> str:
        """The first `size` characters of the spooled part."""
        return self._encode_chunk(self.spool.read(self.start, min(size, self.size))).decode("ascii")

    def tail(self, size: int) -> str:
        """The last `size` characters of the spooled part."""
        size = min(size, self.size)
        return self._encode_chunk(self.spool.read(self.start + self.size - size, size)).decode("ascii")

    def skip(self, size: int) -> SpooledText:
        """The spooled part without its first `size` bytes, which are read to keep `outside_base64` true."""
        outside = self.outside_base64
        if outside is not None:
            outside = outside[len(self.spool.read(self.start, size).translate(None, BASE64_ALPHABET)) :]
        return SpooledText(self.spool, self.start + size, self.size - size, outside_base64=outside)

    def chunks(self) -> Iterator[bytes]:
        """The text as ASCII: the prefix, then at most `CHUNK_BYTES` of the spool at a time."""
        if self.prefix:
            yield self.prefix.encode("ascii")
        for chunk in self.spool.chunks(self.start, self.size):
            yield self._encode_chunk(chunk)

    @staticmethod
    def _encode_chunk(chunk: bytes) -> bytes:
        return chunk


class Base64Text(SpooledText):
    """`prefix`, then the base64 of the spooled bytes.

    Each chunk is encoded by itself. The result is one base64 text only because `CHUNK_BYTES` is a multiple of 3.
    """

    def __len__(self) -> int:
        return len(self.prefix) + (self.size + 2) // 3 * 4

    @staticmethod
    def _encode_chunk(chunk: bytes) -> bytes:
        return binascii.b2a_base64(chunk, newline=False)
