"""Checks reference images: a JPEG or PNG as a file or data URL, or an http(s) URL that MiniMax fetches.

The gateway never fetches a URL itself.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from app.schemas.data_url import InvalidDataUrl, is_data_url, read_data_url
from app.spooling.spool import Spool
from app.spooling.spooled_text import Base64Text, SpooledText

MAX_IMAGE_BYTES = 10 * 1024 * 1024  # MiniMax: "less than 10MB"
MAX_URL_CHARS = 8192

# By their first bytes, as both OpenAI SDKs often declare application/octet-stream.
_MAGIC = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png"}
_MAGIC_BYTES = max(map(len, _MAGIC))


class InvalidReferenceImage(ValueError):
    """The image or URL breaks a rule. The message is for the caller and continues the field's name."""


class ValidatedDataUrl(str):
    """A data URL whose bytes have been checked."""

    __slots__ = ()


def data_url_of_file(file: Spool) -> SpooledText:
    """Return `data:image/jpeg;base64,…` (or png) of an uploaded file. Raises `InvalidReferenceImage`."""
    return Base64Text(file, 0, file.size, prefix=_data_url_prefix(file.read(0, _MAGIC_BYTES), file.size))


def check_reference(text: str | SpooledText) -> str | SpooledText:
    """Return an http(s) URL unchanged, or a data URL in clean spelling with its true type.

    Raises `InvalidReferenceImage`, and `SpoolFull` if a large data URL needs cleaning and there is no room for it.
    """
    if isinstance(text, ValidatedDataUrl | Base64Text):
        return text
    if isinstance(text, SpooledText) or is_data_url(text):
        return _check_data_url(text)
    return _check_url(text)


def _check_data_url(text: str | SpooledText) -> str | SpooledText:
    try:
        body = read_data_url(text)
    except InvalidDataUrl as error:
        raise InvalidReferenceImage(str(error)) from None
    checked = body.with_prefix(_data_url_prefix(body.first_bytes, body.size))
    return ValidatedDataUrl(checked) if isinstance(checked, str) else checked


def _data_url_prefix(first_bytes: bytes, size: int) -> str:
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
        raise InvalidReferenceImage("must be an http(s) URL without white space, or a data URL of a JPEG or PNG image")
    if len(text) > MAX_URL_CHARS:
        raise InvalidReferenceImage(f"must be a URL of at most {MAX_URL_CHARS} characters, or a data URL")
    return text
