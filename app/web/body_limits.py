"""Request body limits: maximum size, byte count, and draining before an error response is sent.

A client that is still uploading when the response arrives sees a broken pipe instead of the response; openai-node then
uploads everything twice more. So an error response waits until the caller has finished sending, up to a limit.
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
    """Replacement for `wsgi.input` that counts the bytes read and detects a body shorter than its Content-Length.

    `read` raises `RequestTimeout` (408) if the body arrives too slowly, `RequestEntityTooLarge` (413) if a body without
    a length exceeds `MAX_BODY_BYTES`, and `ClientDisconnected` (400) if it is cut short.
    """

    def __init__(self, stream: _Readable, length: int | None, seconds: float | None = None) -> None:
        """`seconds` is the server's deadline for a whole request, if it is known."""
        self._stream = stream
        self._length = length
        self._seconds = seconds
        self._ended = length == 0
        self.bytes_read = 0
        self._draining = False

    @classmethod
    def install(cls, environ: dict[str, object]) -> Self:
        """Wrap the body of one request. Without a length it is only read if the server marks its end."""
        sent = str(environ.get("CONTENT_LENGTH") or "")
        length = int(sent) if sent.isdecimal() else (None if environ.get("wsgi.input_terminated") else 0)
        seconds = getattr(environ.get("gunicorn.socket"), "seconds", None)  # set by `DeadlineSocket`
        body = cls(environ["wsgi.input"], length, seconds)  # type: ignore[arg-type]
        environ["wsgi.input"] = body
        return body

    @property
    def is_too_large(self) -> bool:
        """True if Content-Length exceeds the limit; without one, once that many bytes were read."""
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
            limit = f"within {self._seconds:g} s" if self._seconds else "in time"
            raise RequestTimeout(f"The request body did not arrive {limit}. Nothing was sent to MiniMax.") from error
        except Exception as error:  # servers raise different types for a reset or a broken chunk
            self._ended = True
            raise ClientDisconnected("The request body is broken or was cut short.") from error
        self.bytes_read += len(data)
        if self._length is None and self.is_too_large and not self._draining:
            raise RequestEntityTooLarge  # werkzeug would truncate a body without a length instead
        if self.bytes_read == self._length:
            self._ended = True
        elif not data and wanted != 0:
            self._ended = True
            if self._length is not None:
                raise ClientDisconnected("The request body ended before its Content-Length.")
        return data

    def readline(self, size: int = -1, /) -> bytes:
        raise NotImplementedError("request bodies are read in blocks")

    def drain(self) -> None:
        """Read and discard what the caller is still sending, up to `MAX_DRAINED_BYTES` in all. Never raises."""
        self._draining = True
        try:
            while not self._ended and self.bytes_read < MAX_DRAINED_BYTES:
                self.read(_CHUNK_BYTES)
        except (ClientDisconnected, RequestTimeout):
            self._ended = True
