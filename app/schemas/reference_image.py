"""Owns what a reference image may be: a JPEG or PNG as a data URL, or an http(s) URL that MiniMax fetches.

The gateway never fetches a URL itself.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable
from dataclasses import replace
from urllib.parse import urlsplit

from app.spooling.spool import CHUNK_BYTES, Spool
from app.spooling.spooled_text import Base64Text, SpooledText

MAX_IMAGE_BYTES = 10 * 1024 * 1024  # MiniMax: "less than 10MB"
MAX_URL_CHARS = 8192

# Told by their first bytes: both OpenAI SDKs often declare application/octet-stream.
_MAGIC = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png"}

_MAGIC_BYTES = max(map(len, _MAGIC))

_DATA_URL_HEAD = re.compile(r"data:[^,]{0,200};base64,", re.ASCII | re.IGNORECASE)
_MAX_HEAD_CHARS = 256
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


class InvalidReferenceImage(ValueError):
    """The image or URL breaks a rule; the message is for the caller."""


class ValidatedDataUrl(str):
    """A data URL whose bytes have been checked."""

    __slots__ = ()


def data_url_of_file(file: Spool) -> SpooledText:
    """`data:image/jpeg;base64,…` (or png) of an uploaded file. Raises `InvalidReferenceImage`."""
    return Base64Text(file, 0, file.size, prefix=_head_for(file.read(0, _MAGIC_BYTES), file.size))


def check_reference(text: str | SpooledText) -> str | SpooledText:
    """The URL as it is, or the data URL under its true type. Raises `InvalidReferenceImage`."""
    if isinstance(text, ValidatedDataUrl | Base64Text):
        return text
    if isinstance(text, SpooledText) or text[:5].lower() == "data:":
        return _check_data_url(text)
    return _check_url(text)


def _check_data_url(text: str | SpooledText) -> str | SpooledText:
    beginning = text[:_MAX_HEAD_CHARS] if isinstance(text, str) else text.head(_MAX_HEAD_CHARS)
    head = _DATA_URL_HEAD.match(beginning)
    if head is None:
        raise InvalidReferenceImage("must be a data URL of the form 'data:image/jpeg;base64,…'")
    if isinstance(text, str):
        encoded = text[head.end() :]
        pieces = (encoded[i : i + CHUNK_BYTES].encode("ascii", "replace") for i in range(0, len(encoded), CHUNK_BYTES))
        return ValidatedDataUrl(_head_for(*_read_base64(pieces)) + encoded)
    rest = text.skip(head.end())
    return replace(rest, prefix=_head_for(*_read_base64(rest.chunks())))


def _read_base64(pieces: Iterable[bytes]) -> tuple[bytes, int]:
    """The first bytes and the size of what is encoded. All pieces but the last are of whole groups of four."""
    first = last = padding = b""
    size = 0
    for last in pieces:
        first = first or last[: _MAGIC_BYTES * 2]
        padding += last.translate(None, _ALPHABET)
        size += len(last)
    if size % 4 or padding not in (b"", b"=", b"==") or not last.endswith(padding):
        raise InvalidReferenceImage("holds invalid base64")
    return binascii.a2b_base64(first), size // 4 * 3 - len(padding)


def _head_for(first_bytes: bytes, size: int) -> str:
    mime_type = next((mime for magic, mime in _MAGIC.items() if first_bytes.startswith(magic)), None)
    if mime_type is None:
        raise InvalidReferenceImage("must be a JPEG or PNG image")
    if size >= MAX_IMAGE_BYTES:
        raise InvalidReferenceImage("must be smaller than 10 MB")
    return f"data:{mime_type};base64,"


def _check_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_url = False
    if not is_url or any(c.isspace() or not c.isprintable() for c in text):
        raise InvalidReferenceImage("must be an http(s) URL, or a data URL of a JPEG or PNG image")
    if len(text) > MAX_URL_CHARS:
        raise InvalidReferenceImage(f"must be a URL of at most {MAX_URL_CHARS} characters, or a data URL")
    return text
