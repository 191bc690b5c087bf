"""Owns where big bodies wait: in memory up to a small size, past it in a file without a name.

The file is unlinked as soon as it is open (on Linux it never has a name), so nothing is left behind when a caller
leaves or a worker is killed.
"""

from __future__ import annotations

import contextlib
import errno
import tempfile
from collections.abc import Iterator
from typing import IO

from app.errors import SpoolFull

IN_MEMORY_BYTES = 64 * 1024
CHUNK_BYTES = 192 * 1024  # a multiple of 3: base64 of all chunks but the last needs no padding

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Spool:
    """A file that grows at its end and is read in any order."""

    def __init__(self, folder: str | None = None) -> None:
        """`folder` holds the file, where one is needed; None is the system's folder for temporary files."""
        self._folder = folder
        self._file: IO[bytes] | None = None  # most requests need none
        self.size = 0

    def write(self, data: bytes) -> int:
        """Appends. Raises `SpoolFull` where there is no room."""
        if self._file is None:
            self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES, dir=self._folder)  # noqa: SIM115
        try:
            self._file.seek(self.size)
            self._file.write(data)
            self._file.flush()
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise SpoolFull from error
            raise
        self.size += len(data)
        return len(data)

    def read(self, start: int, size: int) -> bytes:
        if self._file is None:
            return b""
        self._file.seek(start)
        return self._file.read(size)

    def chunks(self, start: int, size: int) -> Iterator[bytes]:
        """`size` bytes from `start` on, `CHUNK_BYTES` at a time."""
        end = start + size
        for position in range(start, end, CHUNK_BYTES):
            yield self.read(position, min(CHUNK_BYTES, end - position))

    def seek(self, position: int) -> None:
        """For werkzeug, which rewinds the file that it has filled with an upload. Reads here say where they begin."""

    def close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):  # what a full disk left unwritten
                self._file.close()
