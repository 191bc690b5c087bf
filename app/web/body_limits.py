"""Owns what a caller's body may cost: it is bounded, counted, and read to its end before a refusal is sent.

A client that is still uploading when the answer comes sees a broken pipe instead of the answer; openai-node
then uploads everything twice more. So an error waits until the caller has finished sending, up to a bound.
"""

from __future__ import annotations

from typing import Protocol, Self

from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge, RequestTimeout

# A reference image of just under 10 MiB is 13.4 MiB of base64; the rest leaves room for the other fields.
MAX_BODY_BYTES = 16 * 1024 * 1024
MAX_DRAINED_BYTES = 64 * 1024 * 1024
_CHUNK_BYTES = 64 * 1024


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class LimitedBody:
    """Stands in for `wsgi.input`: counts what is read and notices a body that ends before its Content-Length."""

    def __init__(self, stream: _Readable, length: int | None, seconds: float | None = None) -> None:
        """`seconds` is how long the server waits for the whole of a request, where that is known."""
        self._stream = stream
        self._length = length
        self._seconds = seconds
        self._ended = length == 0
        self.bytes_read = 0
        self._draining = False

    @classmethod
    def install(cls, environ: dict[str, object]) -> Self:
        """Wraps the body of one request. Without a length it is only read where the server marks its end."""
        sent = str(environ.get("CONTENT_LENGTH") or "")
        length = int(sent) if sent.isdecimal() else (None if environ.get("wsgi.input_terminated") else 0)
        seconds = getattr(environ.get("gunicorn.socket"), "seconds", None)  # as `DeadlineSocket` has them
        body = cls(environ["wsgi.input"], length, seconds)  # type: ignore[arg-type]
        environ["wsgi.input"] = body
        return body

    @property
    def is_too_large(self) -> bool:
        """By its own account; a body without a length is, once so much of it has come."""
        return self.bytes_read >= MAX_BODY_BYTES if self._length is None else self._length > MAX_BODY_BYTES

    def read(self, size: int = -1, /) -> bytes:
        if self._ended:
            return b""
        left = None if self._length is None else self._length - self.bytes_read
        wanted = size if left is None else (left if size < 0 else min(size, left))
        try:
            data = self._stream.read(wanted)
        except TimeoutError as error:
            self._ended = True
            how_long = f"longer than {self._seconds:g} s" if self._seconds else "too long"
            raise RequestTimeout(
                f"The request took {how_long} to arrive: it was given up, and nothing was sent to MiniMax."
            ) from error
        except Exception as error:  # whatever the server calls it: a reset, a broken chunk
            self._ended = True
            raise ClientDisconnected("The request body is broken or was cut short.") from error
        self.bytes_read += len(data)
        if self._length is None and self.is_too_large and not self._draining:
            raise RequestEntityTooLarge  # werkzeug cuts a body without a length at the bound instead
        if self.bytes_read == self._length:
            self._ended = True
        elif not data and wanted != 0:
            self._ended = True
            if self._length is not None:
                raise ClientDisconnected("The request body ended before its Content-Length.")
        return data

    def readline(self, size: int = -1, /) -> bytes:
        raise NotImplementedError("bodies are read in blocks")

    def drain(self) -> None:
        """Reads and drops what the caller is still sending, up to `MAX_DRAINED_BYTES` in all."""
        self._draining = True
        try:
            while not self._ended and self.bytes_read < MAX_DRAINED_BYTES:
                self.read(_CHUNK_BYTES)
        except (ClientDisconnected, RequestTimeout):
            self._ended = True
