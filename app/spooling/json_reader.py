"""Owns how JSON is read while it arrives: its long texts stay in a spool, and only the rest is held and parsed."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import Any

from app.spooling.spool import Spool
from app.spooling.spooled_text import SpooledText

LARGE_BYTES = 64 * 1024  # shorter strings are ordinary `str`

# A string of these alone is its own spelling in JSON, and may stay where it lies.
_PLAIN = bytes(byte for byte in range(0x20, 0x7F) if byte not in b'"\\')
_WHITE_SPACE_ESCAPES = {b"\\n": b"\n", b"\\r": b"\r", b"\\t": b"\t", b"\\f": b"\f"}
# Up to the end of a string, or of what is there of it; up to a string that does not end here.
_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_WHOLE_STRINGS = re.compile(rb'[^"]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"]*+)*+', re.DOTALL)


class JsonReader:
    """Takes a JSON text in pieces. Long plain strings go to `spool` at once; the rest is parsed at the end.

    A string is long when it goes on for `LARGE_BYTES` and is not all in one piece; it is plain if it is printable
    ASCII without escapes (but for the slash, which some encoders escape). Only strings are looked for here: what is
    no JSON at all is for the parser to find out.

    With `decode_white_space`, the short escapes of newline, carriage return, tab and form feed are plain too, and are
    decoded: data URLs are often wrapped. Such a `SpooledText` must be cleaned before it is written as JSON.
    """

    def __init__(self, spool: Spool, *, decode_white_space: bool = False) -> None:
        self._spool = spool
        self._escapes = _WHITE_SPACE_ESCAPES if decode_white_space else {}
        self._marker = uuid.uuid4().hex
        self._long: dict[str, SpooledText] = {}
        self._rest = bytearray()
        self._half_escape = b""  # a backslash at the end of a piece
        self._begin: int | None = None  # of the string that is being read, in the rest
        self._spooled_from: int | None = None  # of that string, in the spool, once it goes there
        self._may_be_plain = True

    def feed(self, piece: bytes) -> None:
        """Raises `SpoolFull`."""
        piece, self._half_escape, at = self._half_escape + piece, b"", 0
        while at < len(piece):
            at = self._between_strings(piece, at) if self._begin is None else self._in_string(piece, at)

    def read(self, parse: Callable[[bytes], Any]) -> Any:
        """What `parse` makes of the JSON text, with a `SpooledText` for each string that lies in the spool."""
        document = parse(bytes(self._rest + self._half_escape))
        return _restore(document, self._long) if self._long else document

    def _between_strings(self, piece: bytes, at: int) -> int:
        end = piece.find(b'"', at)
        if end < 0 or piece.find(b'"', end + 1) >= 0:  # a string that ends in this piece, or none
            end = _end(_WHOLE_STRINGS, piece, at)
        if end < len(piece):
            end += 1  # the quote that opens a string
            self._begin = len(self._rest) + end - at
        self._rest += piece[at:end]
        return end

    def _in_string(self, piece: bytes, at: int) -> int:
        end = piece.find(b'"', at)
        end = len(piece) if end < 0 else end
        if _is_escaped(piece, at, end):  # only then the pattern, which is twenty times slower
            end = _end(_STRING, piece, at)
        self._take(piece[at:end])
        if piece[end : end + 1] == b"\\":
            self._half_escape = piece[end:]
            return len(piece)
        if end < len(piece):
            self._close_string()
        return end + 1

    def _take(self, text: bytes) -> None:
        if self._spooled_from is not None:
            if self._spool_plain(text):
                return
            self._rest += self._escape(self._spool.read(self._spooled_from, self._spool.size - self._spooled_from))
            self._spooled_from, self._may_be_plain = None, False
        self._rest += text
        if self._may_be_plain and len(self._rest) - (self._begin or 0) >= LARGE_BYTES:
            start = self._spool.size
            self._may_be_plain = self._spool_plain(bytes(self._rest[self._begin :]))
            if self._may_be_plain:
                self._spooled_from = start
                del self._rest[self._begin :]

    def _spool_plain(self, text: bytes) -> bool:
        plain = _PLAIN
        if b"\\" in text:
            if text.translate(None, _PLAIN + b"\\"):  # before decoding: what is not escaped is no JSON
                return False
            # Of an escaped backslash, one is always left, whatever follows it.
            text = text.replace(b"\\/", b"/")
            for escape, character in self._escapes.items():
                text, plain = text.replace(escape, character), plain + character
        if text.translate(None, plain):
            return False
        self._spool.write(text)
        return True

    def _escape(self, text: bytes) -> bytes:
        for escape, character in self._escapes.items():
            text = text.replace(character, escape)
        return text

    def _close_string(self) -> None:
        if self._spooled_from is not None:
            name = f"{self._marker}-{len(self._long)}"
            self._long[name] = SpooledText(self._spool, self._spooled_from, self._spool.size - self._spooled_from)
            self._rest += name.encode()
        self._rest += b'"'
        self._begin = self._spooled_from = None
        self._may_be_plain = True


def _is_escaped(piece: bytes, at: int, end: int) -> bool:
    """Whether an odd number of backslashes stands before `end`."""
    text = piece[at:end]
    return (len(text) - len(text.rstrip(b"\\"))) % 2 == 1


def _end(pattern: re.Pattern[bytes], piece: bytes, at: int) -> int:
    match = pattern.match(piece, at)
    return match.end() if match else at


def _restore(value: Any, long: dict[str, SpooledText]) -> Any:
    match value:
        case str():
            return long.get(value, value)
        case list():
            return [_restore(item, long) for item in value]
        case dict():
            return {str(_restore(key, long)): _restore(item, long) for key, item in value.items()}
    return value
