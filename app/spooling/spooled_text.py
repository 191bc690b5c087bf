"""`SpooledText`: a long string that lies in a spool file.

Spooled texts are leaves of otherwise ordinary documents: a reference image on its way to MiniMax, images on their way
back. Each holds only the characters of `PRINTABLE` and `WHITE_SPACE`.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterator
from dataclasses import dataclass

from app.spooling.spool import Spool

BASE64_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"  # RFC 4648 section 4
PRINTABLE = bytes(byte for byte in range(0x20, 0x7F) if byte not in b'"\\')
WHITE_SPACE_ESCAPES = {b"\n": rb"\n", b"\r": rb"\r", b"\t": rb"\t", b"\f": rb"\f"}  # as JSON spells it
WHITE_SPACE = b"".join(WHITE_SPACE_ESCAPES)


@dataclass(frozen=True)
class SpooledText:
    """`prefix`, then `size` bytes of `spool` from offset `start`. `len()` is in characters, which are bytes here.

    `escapes` counts the characters of `WHITE_SPACE` in the spooled part, which take two bytes each in JSON.

    `outside_base64` holds the bytes of the spooled part that are not in `BASE64_ALPHABET`, in their order; padding is
    among them. None means that they were not collected, or are too many to keep.
    """

    spool: Spool
    start: int
    size: int
    prefix: str = ""
    outside_base64: bytes | None = None
    escapes: int = 0

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
        """The spooled part without its first `size` bytes, which are read to keep the other fields true."""
        skipped, outside = self.spool.read(self.start, size), self.outside_base64
        if outside is not None:
            outside = outside[len(skipped.translate(None, BASE64_ALPHABET)) :]
        escapes = self.escapes - count_white_space(skipped)
        return SpooledText(self.spool, self.start + size, self.size - size, outside_base64=outside, escapes=escapes)

    def chunks(self) -> Iterator[bytes]:
        """The text as ASCII: the prefix, then at most `CHUNK_BYTES` of the spool at a time."""
        if self.prefix:
            yield self.prefix.encode("ascii")
        for chunk in self.spool.chunks(self.start, self.size):
            yield self._encode_chunk(chunk)

    @property
    def json_size(self) -> int:
        """The length of `json_chunks()` in bytes."""
        return len(self) + self.escapes

    def json_chunks(self) -> Iterator[bytes]:
        """The text as it stands between the quotes of a JSON string."""
        return map(escape_white_space, self.chunks()) if self.escapes else self.chunks()

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


def escape_white_space(text: bytes) -> bytes:
    """`text` with the white space of `WHITE_SPACE_ESCAPES` spelled as in JSON."""
    for character, escape in WHITE_SPACE_ESCAPES.items():
        text = text.replace(character, escape)
    return text


def unescape_white_space(text: bytes) -> bytes:
    """The inverse of `escape_white_space`. After an escaped backslash, a backslash is left over."""
    for character, escape in WHITE_SPACE_ESCAPES.items():
        text = text.replace(escape, character)
    return text


def count_white_space(text: bytes) -> int:
    """How many bytes `escape_white_space` adds to `text`."""
    return sum(map(text.count, WHITE_SPACE_ESCAPES))
