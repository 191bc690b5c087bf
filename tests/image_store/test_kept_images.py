"""Purge and metrics of the images that are kept, and the check of a store in S3."""

from __future__ import annotations

import base64
import os
import time
import uuid
from pathlib import Path

import pytest

from app import metrics
from app.errors import ImageStoreUnavailable
from app.image_store.create import create_image_store
from app.image_store.kept_images import KeptImages
from app.image_store.maintenance import ImageMaintenance
from app.image_store.s3_store import S3ImageStore
from app.objects.location import FileLocation
from app.objects.s3_objects import S3Objects
from tests.support.images import JPEG
from tests.support.s3_server import BUCKET, S3Server, needs_s3

OWNER = "0123456789ab"
TEXT = base64.b64encode(JPEG).decode()


def kept_in(folder: Path) -> KeptImages:
    return KeptImages(create_image_store(FileLocation(folder), None), "https://images.example.com", 30)


def file_of(folder: Path, url: str | None) -> Path:
    assert url
    [file] = folder.rglob(f"{url.rpartition('/')[2].partition('.')[0]}*")
    return file


def test_maintenance_removes_what_has_expired_and_measures_the_rest(tmp_path: Path) -> None:
    kept, now = kept_in(tmp_path), time.time()
    old, recent, new = (file_of(tmp_path, url) for url in kept.keep([TEXT] * 3, OWNER))
    os.utime(old, (now - 31 * 86_400,) * 2)
    os.utime(recent, (now - 5000,) * 2)
    report = ImageMaintenance(kept).run()
    assert (report.removed, report.removed_bytes, report.kept, report.kept_bytes) == (1, len(JPEG), 2, 2 * len(JPEG))
    assert 5000 <= report.oldest_seconds < 5060
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == {recent, new}
    exposed = metrics.exposition().decode()
    assert f"amux_images_kept_bytes {float(2 * len(JPEG))}" in exposed
    assert "amux_images_kept_oldest_seconds 50" in exposed


def test_leftovers_of_killed_writers_are_removed_after_an_hour(tmp_path: Path) -> None:
    kept, now = kept_in(tmp_path), time.time()
    image = file_of(tmp_path, kept.keep([TEXT], OWNER)[0])
    leftovers = [image.with_name(f"{image.name}~{number}") for number in range(2)]
    for leftover, age in zip(leftovers, (3700, 3500), strict=True):
        leftover.write_bytes(b"half")
        os.utime(leftover, (now - age,) * 2)
    assert kept.purge().kept == 1
    assert [leftover.exists() for leftover in leftovers] == [False, True]


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    kept = kept_in(tmp_path)
    folder = file_of(tmp_path, kept.keep([TEXT], OWNER)[0]).parent
    others = [tmp_path / "readme.txt", folder / "notes.txt", folder / "a.jpg"]
    for other in others:
        other.touch()
        os.utime(other, (0, 0))
    assert kept.purge().kept == 1
    assert all(other.exists() for other in others)


def test_images_after_one_that_fails_have_no_url(tmp_path: Path) -> None:
    first, *others = kept_in(tmp_path).keep([TEXT, "////=", TEXT], OWNER)
    assert first
    assert others == [None, None]


@needs_s3
def test_one_check_of_s3_is_enough_for_a_while(shared_s3: S3Server) -> None:
    prefix = uuid.uuid4().hex
    objects = S3Objects(shared_s3.client(), BUCKET, f"{prefix}/")
    kept = KeptImages(S3ImageStore(objects), "https://images.example.com", 30)

    def checks() -> list[float]:
        return [info.modified for info in objects.entries() if info.name == "write-check"]

    kept.check()
    first = checks()
    kept.check()
    assert (len(first), checks()) == (1, first)
    assert list(kept.all()) == []
    for store in (S3ImageStore(objects), S3ImageStore(objects, check_seconds=0)):
        KeptImages(store, "", 30).keep([TEXT], OWNER)
    objects.delete("write-check")
    KeptImages(store, "", 30).check()
    assert len(checks()) == 1


@needs_s3
def test_a_bucket_that_cannot_be_written_to_is_unavailable(shared_s3: S3Server) -> None:
    store = S3ImageStore(S3Objects(shared_s3.client(), "no-such-bucket", ""))
    for _ in range(2):
        with pytest.raises(ImageStoreUnavailable):
            KeptImages(store, "", 30).check()
