"""Anonymous temporary file for large bodies, in memory up to 64 KiB.

The file is unlinked as soon as it is open (on Linux it never has a name), so nothing is left behind when a caller
disconnects or a worker is killed.
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

_DISK_FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Spool:
    """A file that is appended to and read in any order. Not safe for threads."""

    def __init__(self, folder: str | None = None) -> None:
        """`folder` is where the file is created when one is needed; None is the system's temporary folder."""
        self._folder = folder
        self._file: IO[bytes] | None = None  # most requests need none
        self.size = 0

    def write(self, data: bytes) -> int:
        """Append `data` and return its length in bytes.

        Raises `SpoolFull` when the disk, the quota or the file size limit is reached, and `OSError` for other faults.
        """
        if self._file is None:
            self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES, dir=self._folder)  # noqa: SIM115
        try:
            self._file.seek(self.size)
            self._file.write(data)
            self._file.flush()
        except OSError as error:
            if error.errno in _DISK_FULL_ERRNOS:
                raise SpoolFull from error
            raise
        self.size += len(data)
        return len(data)

    def read(self, start: int, size: int) -> bytes:
        """At most `size` bytes from offset `start`; fewer at the end of the spool."""
        if self._file is None:
            return b""
        self._file.seek(start)
        return self._file.read(size)

    def chunks(self, start: int, size: int) -> Iterator[bytes]:
        """`size` bytes from offset `start`, `CHUNK_BYTES` at a time."""
        end = start + size
        for position in range(start, end, CHUNK_BYTES):
            yield self.read(position, min(CHUNK_BYTES, end - position))

    def close(self) -> None:
        """Free the file. May be called more than once."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # closing flushes, which fails again on a full disk
                self._file.close()
