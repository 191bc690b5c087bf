"""Object stores: the same rules for files and for S3."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.native_thread import NativeThreads
from app.objects.file_objects import FileObjects
from app.objects.s3_objects import S3Objects
from app.objects.store import ObjectMissing, ObjectStore, ObjectsUnavailable
from tests.support.processes import HOST, ROOT, free_port
from tests.support.s3_server import BUCKET, S3Server, needs_s3, s3_client, s3_server

LARGE = os.urandom(1024) * 1500
BAD_NAMES = ["", ".", "..", "a/b", "../a", "a\\b", "é", "a b", ".a", "~a", "a" * 201]


def file_objects(folder: Path) -> FileObjects:
    return FileObjects(folder, NativeThreads(0))


@pytest.fixture(params=["file", pytest.param("s3", marks=needs_s3)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "file":
        return file_objects(tmp_path)
    server: S3Server = request.getfixturevalue("shared_s3")
    return S3Objects(server.client(), BUCKET, f"{uuid.uuid4().hex}/answers/", str(tmp_path))


def content(store: ObjectStore, name: str) -> bytes:
    return b"".join(store.read(name))


@pytest.mark.parametrize("body", [b"", b"small", LARGE], ids=["empty", "small", "large"])
def test_an_object_is_read_as_it_was_written(store: ObjectStore, body: bytes) -> None:
    store.write("a.json", (body[i : i + 100_000] for i in range(0, len(body), 100_000)), len(body))
    assert content(store, "a.json") == body
    [info] = store.entries()
    assert (info.name, info.size) == ("a.json", len(body))
    assert abs(info.modified - time.time()) < 60


def test_a_second_write_replaces_the_first(store: ObjectStore) -> None:
    for body in (b"first", b"2"):
        store.write("a", [body], len(body))
    assert content(store, "a") == b"2"


def test_a_missing_object_is_reported_at_once(store: ObjectStore) -> None:
    store.write("a", [b"1"], 1)
    store.delete("a")
    store.delete("a")
    with pytest.raises(ObjectMissing):
        store.read("a")


@pytest.mark.parametrize("chunks", [[b"12"], [b"1234", b"5"]], ids=["too few", "too many"])
def test_an_object_of_another_size_is_not_stored(store: ObjectStore, chunks: list[bytes]) -> None:
    with pytest.raises(ValueError, match=r"an object of 4 bytes has [25]"):
        store.write("a", chunks, 4)
    assert list(store.names_older_than(-60)) == []


def test_a_writer_that_fails_leaves_nothing(store: ObjectStore) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"half"
        raise RuntimeError("the reader has gone")

    with pytest.raises(RuntimeError):
        store.write("a", chunks(), 8)
    assert list(store.names_older_than(-60)) == []


def test_old_names(store: ObjectStore) -> None:
    for name in ("a", "b.json", "c"):
        store.write(name, [b"1"], 1)
    assert sorted(store.names_older_than(-60)) == ["a", "b.json", "c"]
    assert list(store.names_older_than(60)) == []


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
def test_a_name_leads_nowhere_else(store: ObjectStore, name: str) -> None:
    for operation in (lambda: store.write(name, [b""], 0), lambda: store.read(name)):
        with pytest.raises(ValueError, match="not a name"):
            operation()
    assert list(store.names_older_than(-60)) == []


# Files


def test_a_killed_writer_leaves_no_object(tmp_path: Path) -> None:
    """What it leaves is no object, is listed as old, and can be deleted by that name."""
    script = (
        "import os, signal; from pathlib import Path; from app.native_thread import NativeThreads;"
        "from app.objects.file_objects import FileObjects\n"
        "def chunks():\n    yield b'half'\n    os.kill(os.getpid(), signal.SIGKILL)\n"
        f"FileObjects(Path({str(tmp_path)!r}), NativeThreads(0)).write('a.jpg', chunks(), 8)"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT).returncode == -9
    store = file_objects(tmp_path)
    assert list(store.entries()) == []
    with pytest.raises(ObjectMissing):
        store.read("a.jpg")
    [leftover] = store.names_older_than(-60)
    store.delete(leftover)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_folder_that_is_gone_is_unavailable_and_is_not_created(tmp_path: Path) -> None:
    store = file_objects(tmp_path / "not-mounted")
    check_unavailable(store)
    with pytest.raises(ObjectsUnavailable):
        store.check()
    assert list(tmp_path.iterdir()) == []


def test_files_are_spread_over_folders(tmp_path: Path) -> None:
    store = file_objects(tmp_path)
    for number in range(50):
        store.write(f"{number}.jpg", [b"1"], 1)
    assert len({path.parent for path in tmp_path.rglob("*.jpg")}) > 40
    assert [info.name for info in store.matching("7")] == ["7.jpg"]


# S3


@needs_s3
def test_a_server_that_is_gone_is_unavailable(tmp_path: Path) -> None:
    with s3_server(tmp_path) as server:
        store = S3Objects(server.client(), BUCKET, "")
        store.write("a", [b"1"], 1)
        server.stop()
        check_unavailable(store)


@needs_s3
def test_a_missing_bucket_is_unavailable(shared_s3: S3Server) -> None:
    with pytest.raises(ObjectsUnavailable):
        S3Objects(shared_s3.client(), "no-such-bucket", "").write("a", [b"1"], 1)


@needs_s3
def test_stores_see_only_what_is_directly_below_their_prefix(shared_s3: S3Server) -> None:
    prefix = uuid.uuid4().hex
    images, answers, above = (S3Objects(shared_s3.client(), BUCKET, f"{prefix}/{end}") for end in ("i/", "a/", ""))
    images.write("1", [b"1"], 1)
    assert list(answers.entries()) == list(above.entries()) == []


def test_a_port_without_a_server_is_unavailable() -> None:
    check_unavailable(S3Objects(s3_client(f"http://{HOST}:{free_port()}"), BUCKET, ""))


def check_unavailable(store: ObjectStore) -> None:
    operations: list[Callable[[], object]] = [
        lambda: store.write("a", [b"1"], 1),
        lambda: store.read("a"),
        lambda: store.delete("a"),
        lambda: list(store.entries()),
        lambda: list(store.names_older_than(0)),
    ]
    for operation in operations:
        with pytest.raises(ObjectsUnavailable):
            operation()
