"""Owns what a reference image may be: a JPEG or PNG as a data URL, or an http(s) URL that MiniMax fetches.

The gateway never fetches a URL itself.
"""

from __future__ import annotations

import base64
import binascii
import re
from urllib.parse import urlsplit

MAX_IMAGE_BYTES = 10 * 1024 * 1024  # MiniMax: "less than 10MB"
MAX_URL_CHARS = 8192

# Told by their first bytes: both OpenAI SDKs often declare application/octet-stream.
_MAGIC = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png"}

_DATA_URL_HEAD = re.compile(r"data:[^,]{0,200};base64,", re.ASCII | re.IGNORECASE)


class InvalidReferenceImage(ValueError):
    """The image or URL breaks a rule; the message is for the caller."""


class DataUrl(str):
    """A data URL whose bytes have been checked."""

    __slots__ = ()


def data_url_of_file(image: bytes) -> DataUrl:
    """`data:image/jpeg;base64,…` (or png) of a file's bytes. Raises `InvalidReferenceImage`."""
    return DataUrl(f"data:{_mime_type(image)};base64,{base64.b64encode(image).decode('ascii')}")


def check_reference(text: str) -> str:
    """The URL as it is, or the data URL under its true type. Raises `InvalidReferenceImage`."""
    if isinstance(text, DataUrl):
        return text
    if text[:5].lower() == "data:":
        return _check_data_url(text)
    return _check_url(text)


def _check_data_url(text: str) -> DataUrl:
    head = _DATA_URL_HEAD.match(text)
    if head is None:
        raise InvalidReferenceImage("must be a data URL of the form 'data:image/jpeg;base64,…'")
    encoded = text[head.end() :]
    try:
        image = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidReferenceImage("holds invalid base64") from None
    return DataUrl(f"data:{_mime_type(image)};base64,{encoded}")


def _mime_type(image: bytes) -> str:
    mime_type = next((mime for magic, mime in _MAGIC.items() if image.startswith(magic)), None)
    if mime_type is None:
        raise InvalidReferenceImage("must be a JPEG or PNG image")
    if len(image) >= MAX_IMAGE_BYTES:
        raise InvalidReferenceImage("must be smaller than 10 MB")
    return mime_type


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
