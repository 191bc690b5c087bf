"""Reads a multipart/form-data body: text fields into memory, files into spools.

Unlike werkzeug's form parser it takes a part without a file name for a file if it declares an image type, and raises on
a malformed body instead of returning an empty form. The splitting is werkzeug's `MultipartDecoder`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import IO

from werkzeug.datastructures import Headers
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData

from app.errors import InvalidRequest
from app.schemas.form_body import FilePart
from app.schemas.json_body import MAX_ECHOED_CHARS
from app.spooling.spool import Spool

_READ_BYTES = 64 * 1024
# RFC 7578 section 4.7 deprecates the header; these three values change nothing.
_IDENTITY_ENCODINGS = ("7bit", "8bit", "binary", "")
_CHARSETS = ("ascii", "us-ascii", "utf-8", "iso-8859-1")  # of a text field; any other is read as UTF-8

Form = tuple[list[tuple[str, str]], list[FilePart]]


def read_multipart(stream: IO[bytes], boundary: str, new_spool: Callable[[], Spool], max_parts: int | None) -> Form:
    """Return the text fields, with U+FFFD for invalid bytes, and the files, both in the order of the body.

    Raises `InvalidRequest` for a malformed body, `RequestEntityTooLarge` for more than `max_parts` parts, `SpoolFull`,
    and whatever `stream` raises.
    """
    fields: list[tuple[str, str]] = []
    files: list[FilePart] = []
    try:
        for part, chunks in _parts(stream, boundary, max_parts):
            _check_part(part)
            if _is_file(part):
                file = FilePart(part.name, getattr(part, "filename", ""), new_spool())
                files.append(file)
                for chunk in chunks:
                    file.content.write(chunk)
            else:
                fields.append((part.name, b"".join(chunks).decode(_charset(part.headers), "replace")))
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


def _events(stream: IO[bytes], decoder: MultipartDecoder) -> Iterator[object]:
    while True:
        event = decoder.next_event()
        if isinstance(event, Epilogue):
            return
        if isinstance(event, NeedData):
            decoder.receive_data(stream.read(_READ_BYTES) or None)  # None is the end
        else:
            yield event


def _content(events: Iterator[object]) -> Iterator[bytes]:
    for event in events:
        if isinstance(event, Data):
            yield event.data
            if not event.more_data:
                return


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
