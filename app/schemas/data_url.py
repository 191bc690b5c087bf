"""Reads base64 data URLs as browsers do, and rewrites them in clean spelling: padded, without white space.

Sources: WHATWG Fetch "data: URL processor", WHATWG URL "basic URL parser", WHATWG Infra "forgiving-base64 decode".
Every function works on chunks, so that a data URL in a spool needs constant memory.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from app.spooling.spool import CHUNK_BYTES
from app.spooling.spooled_text import BASE64_ALPHABET, SpooledText

MAX_HEAD_CHARS = 256
_FIRST_BYTES = 12  # decoded; a multiple of 3, and more than any magic number needs

# White space around a URL. NUL is not among it, unlike in the URL parser: it is a sign of a broken client.
_SURROUNDING_WHITE_SPACE = " \t\n\v\f\r"
_REMOVED_FROM_URLS = b"\t\n\r"
_ASCII_WHITE_SPACE = b" \t\n\f\r"
_SCHEME = re.compile(r"d[\t\n\r]*a[\t\n\r]*t[\t\n\r]*a[\t\n\r]*:", re.IGNORECASE)
_HEAD = re.compile(r"data:[^,#]*; *base64[ \f]*,", re.ASCII | re.IGNORECASE)
# A percent sign whose two digits may follow in the next chunk.
_CUT_ESCAPE = re.compile(rb"%[0-9A-Fa-f]?\Z")


class InvalidDataUrl(ValueError):
    """The text is no base64 data URL. The message continues a sentence that begins with the field's name."""


@dataclass(frozen=True)
class DataUrlBody:
    """The part of a data URL after its comma: clean base64.

    `size` is in decoded bytes; `first_bytes` are the first decoded bytes, enough to tell the image's type.
    """

    encoded: str | SpooledText
    first_bytes: bytes
    size: int

    def with_prefix(self, prefix: str) -> str | SpooledText:
        if isinstance(self.encoded, str):
            return prefix + self.encoded
        return SpooledText(self.encoded.spool, self.encoded.start, self.encoded.size, prefix=prefix)


def is_data_url(text: str | SpooledText) -> bool:
    """Return whether the scheme is `data`. White space before it does not count."""
    return _SCHEME.match(_head(text)) is not None


def read_data_url(text: str | SpooledText) -> DataUrlBody:
    """Return the base64 of a data URL. A `SpooledText` is copied in its spool, and only if it needs cleaning.

    Raises `InvalidDataUrl` if `text` is not base64 throughout, `SpoolFull` if there is no room for the copy.
    """
    encoded = _skip_head(text)
    found = _measure(_chunks(encoded))
    if found is None:
        encoded = _clean_copy(encoded)
        found = _measure(_chunks(encoded))
    if found is None:
        raise InvalidDataUrl(_describe_invalid(_chunks(encoded)))
    return DataUrlBody(encoded, *found)


def _head(text: str | SpooledText) -> str:
    """The first characters without white space before them, which may be long where it lies in a spool."""
    if isinstance(text, str):
        return text.lstrip(_SURROUNDING_WHITE_SPACE)[:MAX_HEAD_CHARS]
    return text.head(CHUNK_BYTES).lstrip(_SURROUNDING_WHITE_SPACE)[:MAX_HEAD_CHARS]


def _skip_head(text: str | SpooledText) -> str | SpooledText:
    """The body, after the comma."""
    head, comma, _ = _head(text).partition(",")
    if not (comma and _HEAD.fullmatch(re.sub(r"[\t\n\r]", "", head + comma))):
        raise InvalidDataUrl("must be a data URL of the form 'data:image/jpeg;base64,…'")
    if isinstance(text, str):
        return text.strip(_SURROUNDING_WHITE_SPACE)[len(head) + 1 :]
    return text.skip(text.head(CHUNK_BYTES).index(",") + 1)


def _chunks(encoded: str | SpooledText) -> Iterator[bytes]:
    if isinstance(encoded, SpooledText):
        return encoded.chunks()
    pieces = (encoded[i : i + CHUNK_BYTES] for i in range(0, len(encoded), CHUNK_BYTES))
    return (piece.encode("ascii", "replace") for piece in pieces)


def _measure(chunks: Iterable[bytes]) -> tuple[bytes, int] | None:
    """The first decoded bytes, and how many there are; None if this is not base64 in clean spelling."""
    first = last = padding = b""
    size = 0
    for last in chunks:
        first = first or last[: _FIRST_BYTES // 3 * 4]
        padding += last.translate(None, BASE64_ALPHABET)
        if len(padding) > 2:
            return None
        size += len(last)
    if size % 4 or padding not in (b"", b"=", b"==") or not last.endswith(padding):
        return None
    return binascii.a2b_base64(first), size // 4 * 3 - len(padding)


def _clean_copy(encoded: str | SpooledText) -> str | SpooledText:
    if isinstance(encoded, str):
        clean = b"".join(_clean(_chunks(encoded)))
        return (clean + _missing_padding(len(clean), clean[-2:])).decode("ascii", "replace")
    spool, start, end = encoded.spool, encoded.spool.size, b""
    for piece in _clean(encoded.chunks()):
        spool.write(piece)
        end = (end + piece[-2:])[-2:]
    spool.write(_missing_padding(spool.size - start, end))
    return SpooledText(spool, start, spool.size - start)


def _clean(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Percent-decoded, without white space, and up to the fragment, which is no part of the data."""
    cut = b""
    for chunk in chunks:
        piece, fragment, _ = (cut + chunk.translate(None, _REMOVED_FROM_URLS)).partition(b"#")
        match = None if fragment else _CUT_ESCAPE.search(piece)
        cut = match[0] if match else b""
        yield _percent_decode(piece[: len(piece) - len(cut)])
        if fragment:
            return
    yield cut


def _percent_decode(piece: bytes) -> bytes:
    decoded = unquote_to_bytes(piece) if b"%" in piece else piece
    return decoded.translate(None, _ASCII_WHITE_SPACE)


def _missing_padding(size: int, end: bytes) -> bytes:
    """What forgiving-base64 tolerates to be missing: all of the padding, or none."""
    return b"" if b"=" in end or size % 4 == 1 else b"=" * (-size % 4)


def _describe_invalid(chunks: Iterable[bytes]) -> str:
    invalid = b"".join(
        {bytes([byte]) for chunk in chunks for byte in set(chunk.translate(None, BASE64_ALPHABET))} - {b"="}
    )
    if invalid and not invalid.strip(b"-_"):
        return "holds invalid base64: - and _ are of the base64url alphabet, send + and / instead"
    return "holds invalid base64"
