"""`FileObjects`: objects as files, spread over two levels of subfolders."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

from app.native_thread import NativeThreads
from app.objects.store import Chunks, ObjectInfo, ObjectMissing, ObjectsUnavailable, check_name

P = ParamSpec("P")
T = TypeVar("T")

CHUNK_BYTES = 192 * 1024
# Ends the name of a file that is being written. No object's name has this character.
_TEMPORARY = "~"


class FileObjects:
    """Objects in `folder`, which must exist when they are written.

    A file is written under a temporary name, flushed to the disk and renamed. The folder itself is not created by
    `write`: a disk that is not mounted must be an error, not a folder on another disk.
    """

    def __init__(self, folder: Path, threads: NativeThreads) -> None:
        self.folder = folder
        self._threads = threads

    def path(self, name: str) -> Path:
        """Where the object lies, or would lie. Objects whose names are alike up to the first dot share a folder."""
        stem = check_name(name.partition(_TEMPORARY)[0]).partition(".")[0]
        spread = hashlib.sha256(stem.encode()).hexdigest()
        return self.folder / spread[:2] / spread[2:4] / name

    def write(self, name: str, chunks: Iterable[bytes], size: int) -> None:
        path = self.path(check_name(name))
        temporary = path.with_name(f"{name}{_TEMPORARY}{secrets.token_hex(4)}")
        with _translated(self.folder):
            self._run(_make_subfolders, self.folder, path.parent)
            with temporary.open("xb", buffering=0) as file:
                try:
                    written = sum(self._run(_write_all, file.fileno(), chunk) for chunk in chunks)
                    if written != size:
                        raise ValueError(f"an object of {size} bytes has {written}")
                    self._run(_publish, file.fileno(), temporary, path)
                except BaseException:
                    with contextlib.suppress(OSError):
                        temporary.unlink()
                    raise

    def read(self, name: str) -> Chunks:
        path = self.path(check_name(name))
        with _translated(self.folder):
            file = self._run(path.open, "rb", buffering=0)

        def read_chunk() -> bytes:
            with _translated(self.folder):
                return bytes(self._run(file.read, CHUNK_BYTES))

        return Chunks(read_chunk, file.close)

    def delete(self, name: str) -> None:
        with contextlib.suppress(ObjectMissing), _translated(self.folder):
            self._run(self.path(name).unlink)

    def names_older_than(self, seconds: float) -> Iterator[str]:
        limit = time.time() - seconds
        return (info.name for info in self._all() if info.modified < limit)

    def leftovers_older_than(self, seconds: float) -> Iterator[str]:
        """Those of `names_older_than` that killed writers have left."""
        return (name for name in self.names_older_than(seconds) if _TEMPORARY in name)

    def entries(self) -> Iterator[ObjectInfo]:
        return (info for info in self._all() if _TEMPORARY not in info.name)

    def matching(self, stem: str) -> list[ObjectInfo]:
        """The objects whose names are `stem`, a dot and more. Reads one subfolder."""
        with _translated(self.folder):
            try:
                found = self._run(_scan, self.path(stem).parent)
            except ObjectMissing:
                return []
        return [info for info in found if info.name.startswith(f"{stem}.") and _TEMPORARY not in info.name]

    def check(self) -> None:
        """Write and delete an empty file. Raises `ObjectsUnavailable`."""
        with _translated(self.folder):
            self._run(_probe, self.folder / f"{_TEMPORARY}{secrets.token_hex(8)}")

    def _all(self) -> Iterator[ObjectInfo]:
        with _translated(self.folder):
            for subfolder in self._run(_subfolders, self.folder):
                yield from self._run(_scan_below, subfolder)

    def _run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return self._threads.call(function, *args, **kwargs)


@contextlib.contextmanager
def _translated(folder: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        if folder.is_dir():
            raise ObjectMissing(str(error)) from None
        raise ObjectsUnavailable from error
    except OSError as error:
        raise ObjectsUnavailable from error


def _make_subfolders(folder: Path, subfolder: Path) -> None:
    for path in (subfolder.parent, subfolder):
        with contextlib.suppress(FileExistsError):
            path.mkdir()
            sync_folder(path.parent)


def _write_all(descriptor: int, chunk: bytes) -> int:
    left = memoryview(chunk)
    while left:
        left = left[os.write(descriptor, left) :]
    return len(chunk)


def _publish(descriptor: int, temporary: Path, path: Path) -> None:
    os.fsync(descriptor)
    temporary.rename(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names of the folder's files survive a power loss."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _probe(path: Path) -> None:
    path.touch(exist_ok=False)
    path.unlink()


def _subfolders(folder: Path) -> list[str]:
    with os.scandir(folder) as found:
        return [entry.path for entry in found if len(entry.name) == 2 and entry.is_dir()]


def _scan_below(folder: str) -> list[ObjectInfo]:
    return [info for subfolder in _subfolders(Path(folder)) for info in _scan(subfolder)]


def _scan(folder: str | Path) -> list[ObjectInfo]:
    infos = []
    with os.scandir(folder) as found:
        for entry in found:
            with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                stat = entry.stat(follow_symlinks=False)
                infos.append(ObjectInfo(entry.name, stat.st_size, stat.st_mtime))
    return infos
