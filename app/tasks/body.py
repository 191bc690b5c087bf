"""Bodies of answers: JSON in chunks, of a length known beforehand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Protocol

from app.objects.store import Chunks


class AnswerMissing(LookupError):
    """The body of an answer was removed to make room, or lost."""


class Body(Protocol):
    """`len()` is in bytes. A body that has a `close` must be closed, unless it is read to its end."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[bytes]: ...


class BytesBody:
    """A small body, in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @classmethod
    def of_document(cls, document: object) -> BytesBody:
        return cls(json.dumps(document).encode())

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[bytes]:
        yield self._data


class StreamedBody:
    """A body that is read while it is sent, once."""

    def __init__(self, chunks: Chunks, size: int) -> None:
        self._chunks = chunks
        self._size = size
        self.close = chunks.close

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        """Raises `AnswerMissing` at the end if a part was removed meanwhile: no half passes for the whole."""
        size = 0
        try:
            for chunk in self._chunks:
                size += len(chunk)
                yield chunk
        finally:
            self._chunks.close()
        if size != self._size:
            raise AnswerMissing
