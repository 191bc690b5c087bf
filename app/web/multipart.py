"""Reads a multipart/form-data body: files and long text fields into spools, short text fields into memory.

Unlike werkzeug's form parser it takes a part without a file name for a file if it declares an image type, and raises on
a malformed body instead of returning an empty form. The splitting is werkzeug's `MultipartDecoder`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import IO

from werkzeug.datastructures import Headers
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Event, Field, File, MultipartDecoder, NeedData

from app.errors import InvalidRequest
from app.schemas.form_body import FilePart, FormField
from app.schemas.json_body import MAX_ECHOED_CHARS
from app.spooling.json_reader import LARGE_BYTES
from app.spooling.spool import Spool
from app.spooling.spooled_text import PRINTABLE, WHITE_SPACE, SpooledText

_READ_BYTES = 64 * 1024
_MAX_BOUNDARY_BYTES = 256  # RFC 2046: at most 70, and white space behind it
# RFC 7578 section 4.7 deprecates the header; these three values change nothing.
_IDENTITY_ENCODINGS = ("7bit", "8bit", "binary", "")
_PLAIN = PRINTABLE + WHITE_SPACE  # what a `SpooledText` may hold
_CHARSETS = ("ascii", "us-ascii", "utf-8", "iso-8859-1")  # of a text field; any other is read as UTF-8

Form = tuple[list[FormField], list[FilePart]]


def read_multipart(stream: IO[bytes], boundary: str, new_spool: Callable[[], Spool], max_parts: int | None) -> Form:
    """Return the text fields, with U+FFFD for invalid bytes, and the files, both in the order of the body.

    A long text of printable ASCII and white space is a `SpooledText`.

    Raises `InvalidRequest` for a malformed body, `RequestEntityTooLarge` for more than `max_parts` parts, `SpoolFull`,
    and whatever `stream` raises.
    """
    fields: list[FormField] = []
    files: list[FilePart] = []
    texts = new_spool()
    try:
        for part, chunks in _parts(stream, boundary, max_parts):
            _check_part(part)
            if _is_file(part):
                file = FilePart(part.name, getattr(part, "filename", ""), new_spool())
                files.append(file)
                _write(chunks, file.content)
            else:
                fields.append((part.name, _read_text(chunks, _charset(part.headers), texts)))
    except ValueError:
        raise InvalidRequest("The multipart body is broken or cut short.", code="invalid_form") from None
    return fields, files


def _parts(stream: IO[bytes], boundary: str, max_parts: int | None) -> Iterator[tuple[Field | File, Iterator[bytes]]]:
    """Each part with its content, which has to be read before the next part. Raises `ValueError` if malformed."""
    if not boundary:
        raise ValueError("no boundary")
    decoder = MultipartDecoder(boundary.encode("ascii"), max_parts=max_parts)
    events = _events(stream, decoder)
    for event in events:
        if isinstance(event, Field | File):
            yield event, _content(events)


def _events(stream: IO[bytes], decoder: MultipartDecoder) -> Iterator[Event]:
    # werkzeug 3.1 adds a carriage return to a part if a read ends within the end of the boundary that follows it.
    cut_boundary = re.compile(rb"--%s(-|[ \t]*\r?)\Z" % re.escape(decoder.boundary))
    while not isinstance(event := decoder.next_event(), Epilogue):
        if not isinstance(event, NeedData):
            yield event
            continue
        data = stream.read(_READ_BYTES)
        while data and cut_boundary.search(decoder.buffer[-_MAX_BOUNDARY_BYTES:] + data):
            more = stream.read(_READ_BYTES)
            if not more:
                break
            data += more
        decoder.receive_data(data or None)  # None is the end


def _content(events: Iterator[Event]) -> Iterator[bytes]:
    for event in events:
        if isinstance(event, Data):
            yield event.data
            if not event.more_data:
                return


def _write(chunks: Iterable[bytes], spool: Spool) -> None:
    for chunk in chunks:
        spool.write(chunk)


def _read_text(chunks: Iterator[bytes], charset: str, spool: Spool) -> str | SpooledText:
    text = bytearray()
    for chunk in chunks:
        text += chunk
        if len(text) >= LARGE_BYTES:
            return _spool_text(chain([bytes(text)], chunks), charset, spool)
    return text.decode(charset, "replace")


def _spool_text(chunks: Iterable[bytes], charset: str, spool: Spool) -> str | SpooledText:
    start = spool.size
    _write(chunks, spool)
    found = SpooledText(spool, start, spool.size - start)
    if any(chunk.translate(None, _PLAIN) for chunk in found.chunks()):
        return spool.read(start, found.size).decode(charset, "replace")
    return found


def _check_part(part: Field | File) -> None:
    if not part.name:  # werkzeug gives None for a part without a name
        raise InvalidRequest("A part of the multipart body has no name.", code="invalid_form")
    for encoding in part.headers.getlist("Content-Transfer-Encoding"):
        if encoding.strip().lower() not in _IDENTITY_ENCODINGS:
            name = part.name[:MAX_ECHOED_CHARS]
            raise InvalidRequest(
                f"{name} has Content-Transfer-Encoding {encoding[:MAX_ECHOED_CHARS]}, which is not supported: "
                "send the bytes as they are.",
                param=name,
            )


def _is_file(part: Field | File) -> bool:
    return isinstance(part, File) or _content_type(part.headers)[0].startswith("image/")


def _charset(headers: Headers) -> str:
    charset = _content_type(headers)[1].get("charset", "").lower()
    return charset if charset in _CHARSETS else "utf-8"


def _content_type(headers: Headers) -> tuple[str, dict[str, str]]:
    mime_type, parameters = parse_options_header(headers.get("Content-Type"))
    return mime_type.strip().lower(), parameters
