"""Decodes padded base64, which may lie in a spool, in constant memory."""

from __future__ import annotations

import binascii
from collections.abc import Iterator

from app.spooling.spool import CHUNK_BYTES
from app.spooling.spooled_text import SpooledText


def decoded_size(text: str | SpooledText) -> int:
    """The number of bytes that `text` stands for."""
    tail = text.tail(2) if isinstance(text, SpooledText) else text[-2:]
    return len(text) // 4 * 3 - tail.count("=")


def decoded_head(text: str | SpooledText, size: int) -> bytes:
    """The first `size` bytes, fewer if there are no more. `size` is a multiple of 3."""
    return binascii.a2b_base64(text.head(size // 3 * 4) if isinstance(text, SpooledText) else text[: size // 3 * 4])


def decoded_chunks(text: str | SpooledText) -> Iterator[bytes]:
    """The bytes, some 150 KB at a time. Raises `binascii.Error` for what is not base64."""
    rest = b""
    for chunk in text.chunks() if isinstance(text, SpooledText) else _pieces(text):
        rest += chunk
        whole = len(rest) // 4 * 4
        yield binascii.a2b_base64(rest[:whole])
        rest = rest[whole:]
    if rest:
        yield binascii.a2b_base64(rest)


def _pieces(text: str) -> Iterator[bytes]:
    return (text[start : start + CHUNK_BYTES].encode("ascii") for start in range(0, len(text), CHUNK_BYTES))
