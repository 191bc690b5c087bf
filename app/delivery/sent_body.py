"""A response body that knows whether its caller has taken all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator


class SentBody:
    """Iterate once. `is_taken` is True once all was sent to a caller that had not left before the last chunk.

    A caller may close its connection as soon as it has the last chunk, so that is no sign of its having left.
    """

    def __init__(self, chunks: Iterable[bytes], is_gone: Callable[[], bool]) -> None:
        self._source = chunks
        self._iterator = iter(chunks)
        self._is_gone = is_gone
        self.is_taken = False
        self.bytes_sent = 0

    def close(self) -> None:
        """Close what the chunks are read from, if they were not read to their end. The WSGI server calls it."""
        for each in (self._iterator, self._source):  # a generator that was not begun closes nothing
            close = getattr(each, "close", None)
            if close is not None:
                close()

    def __iter__(self) -> Iterator[bytes]:
        is_gone = False
        for chunk in self._iterator:
            is_gone = self._is_gone()
            yield chunk
            self.bytes_sent += len(chunk)
        self.is_taken = not is_gone
