"""Incremental JSON reader that moves long strings to a spool file."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import Any

from app.spooling.spool import Spool
from app.spooling.spooled_text import (
    BASE64_ALPHABET,
    PRINTABLE,
    WHITE_SPACE,
    SpooledText,
    count_white_space,
    escape_white_space,
    unescape_white_space,
)

LARGE_BYTES = 64 * 1024  # shorter strings are ordinary `str`
MAX_OUTSIDE_BASE64 = 256  # room for the prefix of a data URL, and padding

# _STRING ends at the closing quote or at the end of the piece, _WHOLE_STRINGS before a string that the piece cuts off.
_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_WHOLE_STRINGS = re.compile(rb'[^"]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"]*+)*+', re.DOTALL)


class JsonReader:
    """Takes a JSON text in pieces. Long plain strings go to `spool` at once; `read` parses the rest.

    A string is long once `LARGE_BYTES` of it have arrived and it does not end in the piece that it begins in. It is
    plain if it is printable ASCII whose only escapes are `\\/`, which some encoders write, and `\\n`, `\\r`, `\\t` and
    `\\f`, which break base64 into lines. The spool holds the characters that these stand for. The reader only finds
    strings; the parser rejects what is not JSON.

    Invariants between two calls of `feed`:

    - `_rest` holds the text so far, with a unique placeholder for each closed string that lies in the spool.
    - `_half_escape` is a backslash that ended the last piece, or empty. It is not in `_rest` and not in the spool: the
      next piece is read as if it began with it.
    - `_begin` is the offset in `_rest` of the open string's first byte, None between strings.
    - `_spooled_from` is the open string's offset in the spool, None while the string is held in `_rest`. While it is
      set, `_rest` ends at `_begin`, and everything in the spool from that offset on is the open string.
    - `_can_spool` is False once the open string is known not to be plain: it stays in `_rest` however long it gets.
      Between strings it is True.
    - `_escapes` counts the characters in the spooled part of the open string that JSON escapes.
    - `_outside_base64` holds the bytes of the spooled part of the open string that are not in base64's alphabet, but
      never more than `MAX_OUTSIDE_BASE64 + 1` of them. The check for plain bytes finds them at no further cost.
    """

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._long: dict[str, SpooledText] = {}
        self._rest = bytearray()
        self._half_escape = b""
        self._begin: int | None = None
        self._spooled_from: int | None = None
        self._can_spool = True
        self._escapes = 0
        self._outside_base64 = b""

    def feed(self, piece: bytes) -> None:
        """Read the next `piece`, of any length. Raises `SpoolFull`."""
        piece, self._half_escape, at = self._half_escape + piece, b"", 0
        while at < len(piece):
            at = self._between_strings(piece, at) if self._begin is None else self._in_string(piece, at)

    def read(self, parse: Callable[[bytes], Any]) -> Any:
        """The document that `parse` makes of the text, with a `SpooledText` for each string in the spool.

        `parse` takes JSON bytes, as `json.loads` does; what it raises for invalid JSON is raised here.
        """
        document = parse(bytes(self._rest + self._half_escape))
        return _restore(document, self._long) if self._long else document

    def _between_strings(self, piece: bytes, at: int) -> int:
        end = piece.find(b'"', at)
        if end < 0 or piece.find(b'"', end + 1) >= 0:  # no string, or one that ends in this piece
            end = _match_end(_WHOLE_STRINGS, piece, at)
        if end < len(piece):
            end += 1  # the quote that opens a string
            self._begin = len(self._rest) + end - at
        self._rest += piece[at:end]
        return end

    def _in_string(self, piece: bytes, at: int) -> int:
        end = piece.find(b'"', at)
        end = len(piece) if end < 0 else end
        if _is_escaped(piece, at, end):  # the pattern is twenty times slower, so use it only where it is needed
            end = _match_end(_STRING, piece, at)
        self._append(piece[at:end])
        if piece[end : end + 1] == b"\\":
            self._half_escape = piece[end:]
            return len(piece)
        if end < len(piece):
            self._close_string()
        return end + 1

    def _append(self, text: bytes) -> None:
        if self._spooled_from is not None:
            if self._spool_plain(text):
                return
            self._rest += escape_white_space(
                self._spool.read(self._spooled_from, self._spool.size - self._spooled_from)
            )
            self._spooled_from, self._can_spool = None, False
        self._rest += text
        if self._can_spool and len(self._rest) - (self._begin or 0) >= LARGE_BYTES:
            start, self._escapes, self._outside_base64 = self._spool.size, 0, b""
            self._can_spool = self._spool_plain(bytes(self._rest[self._begin :]))
            if self._can_spool:
                self._spooled_from = start
                del self._rest[self._begin :]

    def _spool_plain(self, text: bytes) -> bool:
        plain = PRINTABLE
        if b"\\" in text:
            if text.translate(None, PRINTABLE + b"\\"):  # white space that is not escaped is not JSON
                return False
            text, plain = unescape_white_space(text.replace(b"\\/", b"/")), PRINTABLE + WHITE_SPACE
        outside = text.translate(None, BASE64_ALPHABET)
        if outside:
            if outside.translate(None, plain):
                return False
            self._escapes += count_white_space(outside)
            self._outside_base64 = (self._outside_base64 + outside)[: MAX_OUTSIDE_BASE64 + 1]
        self._spool.write(text)
        return True

    def _close_string(self) -> None:
        if self._spooled_from is not None:
            name = uuid.uuid4().hex
            size = self._spool.size - self._spooled_from
            outside = self._outside_base64 if len(self._outside_base64) <= MAX_OUTSIDE_BASE64 else None
            self._long[name] = SpooledText(
                self._spool, self._spooled_from, size, outside_base64=outside, escapes=self._escapes
            )
            self._rest += name.encode()
        self._rest += b'"'
        self._begin = self._spooled_from = None
        self._can_spool = True


def _is_escaped(piece: bytes, at: int, end: int) -> bool:
    """Whether an odd number of backslashes stands before `end`."""
    text = piece[at:end]
    return (len(text) - len(text.rstrip(b"\\"))) % 2 == 1


def _match_end(pattern: re.Pattern[bytes], piece: bytes, at: int) -> int:
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
