"""Checks that what MiniMax delivered are images: base64 of a JPEG, PNG or WebP, or http(s) URLs.

Source: the contract's section 3. Long texts lie in a spool and are checked there in constant memory.
"""

from __future__ import annotations

import binascii
import re
from urllib.parse import urlsplit

from app.spooling.spooled_text import BASE64_ALPHABET, SpooledText

_WHITE_SPACE = b" \t\n\r\f\v"
_DATA_URL_PREFIX = re.compile(r"\s*data:[^,]{0,150};base64,", re.ASCII | re.IGNORECASE)
_MAX_PREFIX_CHARS = 200
_MAGIC = re.compile(rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|RIFF.{4}WEBP", re.DOTALL)
_MAGIC_CHARS = 16  # of base64: the first 12 bytes
_MAX_ORIGIN_CHARS = 4096  # of a URL, in which its scheme and host are looked for


class InvalidImage(ValueError):
    """MiniMax delivered something else; the message says what was expected and quotes nothing."""


def check_url(url: str | SpooledText) -> str | SpooledText:
    """Return `url` as it is. Raises `InvalidImage` unless it is an http or https URL with a host."""
    try:
        parts = urlsplit(url.head(_MAX_ORIGIN_CHARS) if isinstance(url, SpooledText) else url)
        _ = parts.port  # raises ValueError for one that is no number
    except ValueError:
        parts = urlsplit("")
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not host or any(c.isspace() or not c.isprintable() for c in host):
        raise InvalidImage("an image URL is not http or https with a host")
    return url


def clean_base64(text: str | SpooledText) -> str | SpooledText:
    """Return bare, padded base64: without the prefix of a data URL and without white space.

    Raises `InvalidImage` unless `text` is base64 (RFC 4648 section 4) that begins as a JPEG, PNG or WebP does.
    Raises `SpoolFull` when a spooled text has to be rewritten and there is no room.
    """
    if isinstance(text, SpooledText):
        return _clean_spooled(text.skip(_prefix_length(text.head(_MAX_PREFIX_CHARS))))
    try:
        data = text[_prefix_length(text) :].encode("ascii").translate(None, _WHITE_SPACE)
    except UnicodeEncodeError:
        raise _not_base64() from None
    padding = _missing_padding(len(data), data.translate(None, BASE64_ALPHABET), data[-2:])
    _check_magic(data[:_MAGIC_CHARS])
    return (data + padding).decode("ascii")


def _clean_spooled(text: SpooledText) -> SpooledText:
    # MiniMax sends bare base64, which stays where it is.
    if text.outside_base64 not in (b"", b"=", b"==") or text.size % 4:
        text = _rewrite(text)
    padding = _missing_padding(text.size, text.outside_base64 or b"", text.tail(2).encode("ascii"))
    _check_magic(text.head(_MAGIC_CHARS).encode("ascii"))
    if padding:  # only a rewritten text lacks it, and that one lies at the end of the spool
        text = SpooledText(text.spool, text.start, text.size + text.spool.write(padding))
    return text


def _rewrite(text: SpooledText) -> SpooledText:
    """A copy without white space at the end of the same spool."""
    spool, start, outside = text.spool, text.spool.size, b""
    for chunk in text.chunks():
        kept = chunk.translate(None, _WHITE_SPACE)
        outside = (outside + kept.translate(None, BASE64_ALPHABET))[:3]  # three are too many already
        spool.write(kept)
    return SpooledText(spool, start, spool.size - start, outside_base64=outside)


def _prefix_length(head: str) -> int:
    prefix = _DATA_URL_PREFIX.match(head)
    return prefix.end() if prefix else 0


def _missing_padding(size: int, outside: bytes, tail: bytes) -> bytes:
    """The padding that base64 of `size` characters lacks, given those outside the alphabet and the last two."""
    if outside not in (b"", b"=", b"==") or not tail.endswith(outside) or (outside and size % 4) or size % 4 == 1:
        raise _not_base64()
    return b"=" * (-size % 4)


def _check_magic(head: bytes) -> None:
    if not _MAGIC.match(binascii.a2b_base64(head + b"=" * (-len(head) % 4))):
        raise InvalidImage("an image is not JPEG, PNG or WebP")


def _not_base64() -> InvalidImage:
    return InvalidImage("an image is not base64")
