"""The spool: memory for small bodies, an unlinked file for others, and `SpoolFull` for a full disk."""

from __future__ import annotations

import errno
import os
import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import SpoolFull
from app.spooling.spool import CHUNK_BYTES, IN_MEMORY_BYTES, Spool

BIG = b"0123456789abcdef" * (IN_MEMORY_BYTES // 8)


def files_in(folder: Path) -> list[str]:
    """The files in `folder` that this process has open, unlinked ones included."""
    links = []
    for number in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{number}"))
        except FileNotFoundError:  # the one of the listing itself
            continue
    return [link for link in links if link.startswith(f"{folder}/")]


@given(st.lists(st.tuples(st.binary(max_size=50), st.integers(0, 60), st.integers(0, 60))))
def test_writes_append_wherever_the_last_read_was(steps: list[tuple[bytes, int, int]]) -> None:
    spool, whole = Spool(), b""
    for data, start, size in steps:
        spool.write(data)
        whole += data
        assert spool.read(start, size) == whole[start : start + size]
        assert spool.size == len(whole)
    assert b"".join(spool.chunks(0, spool.size)) == whole
    spool.close()


def test_a_small_body_stays_in_memory(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path))
    spool.write(b"a" * IN_MEMORY_BYTES)
    assert files_in(tmp_path) == []
    spool.close()


def test_a_large_body_is_an_unlinked_file_until_it_is_closed(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path))
    for _ in range(4):
        spool.write(BIG)
        assert list(tmp_path.iterdir()) == []
    [link] = files_in(tmp_path)
    assert link.endswith(" (deleted)")
    assert spool.read(len(BIG) - 3, 6) == b"def012"
    assert b"".join(spool.chunks(0, spool.size)) == BIG * 4
    spool.close()
    spool.close()
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES])
def test_chunks_yield_exactly_the_requested_range(size: int) -> None:
    spool = Spool()
    spool.write(b"a" * 7 + b"b" * size + b"c" * 7)
    chunks = list(spool.chunks(7, size))
    assert b"".join(chunks) == b"b" * size
    assert all(len(chunk) == CHUNK_BYTES for chunk in chunks[:-1])
    spool.close()


def test_an_empty_spool_reads_and_closes_without_a_file() -> None:
    spool = Spool("/nowhere")
    assert (spool.size, spool.read(0, 10), list(spool.chunks(0, 0))) == (0, b"", [])
    spool.close()


class Faulty:
    """A file on a disk that fails."""

    def __init__(self, error: int) -> None:
        self._error = error

    def seek(self, _: int) -> None:
        pass

    def write(self, _: bytes) -> None:
        raise OSError(self._error, os.strerror(self._error))

    def close(self) -> None:
        raise OSError(self._error, os.strerror(self._error))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errno.ENOSPC, SpoolFull),
        (errno.EDQUOT, SpoolFull),
        (errno.EFBIG, SpoolFull),
        (errno.EIO, OSError),
        (errno.EROFS, OSError),
    ],
)
def test_a_full_disk_raises_spool_full_and_other_errors_do_not(
    monkeypatch: pytest.MonkeyPatch, error: int, expected: type[Exception]
) -> None:
    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", lambda **_: Faulty(error))
    spool = Spool()
    with pytest.raises(expected) as caught:
        spool.write(BIG)
    assert expected is OSError or caught.value.__cause__.errno == error  # type: ignore[union-attr]
    spool.close()


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Limit the size of the files that this process may write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_real_file_that_cannot_grow(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path))
    with largest_file(3 * len(BIG)):
        for _ in range(3):
            spool.write(BIG)
        with pytest.raises(SpoolFull):
            spool.write(BIG)
        assert spool.size == 3 * len(BIG)
        assert spool.read(0, len(BIG)) == BIG
        spool.close()
    assert files_in(tmp_path) == []


def test_a_missing_folder_is_not_reported_as_full() -> None:
    spool = Spool("/nowhere")
    with pytest.raises(FileNotFoundError):
        spool.write(BIG)
    spool.close()


def test_files_are_unlinked_at_once_where_o_tmpfile_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some file systems do not support O_TMPFILE."""
    opened: list[Any] = []
    real = os.open

    def without_tmpfile(path: Any, flags: int, *more: Any, **named: Any) -> int:
        opened.append(flags)
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise IsADirectoryError(errno.EISDIR, "no O_TMPFILE here")
        return real(path, flags, *more, **named)

    monkeypatch.setattr(os, "open", without_tmpfile)
    monkeypatch.setattr(tempfile, "_O_TMPFILE_WORKS", True)
    spool = Spool(str(tmp_path))
    spool.write(BIG)
    assert opened
    assert list(tmp_path.iterdir()) == []
    assert len(files_in(tmp_path)) == 1
    spool.close()
