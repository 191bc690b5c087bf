"""`ImageMaintenance`: removes expired images, and tells what is kept."""

from __future__ import annotations

import base64
import os
import time
from pathlib import Path

import pytest

from app.image_store import maintenance
from app.image_store.create import create_image_store
from app.image_store.kept_images import KeptImages
from app.image_store.maintenance import ImageMaintenance
from app.objects.location import FileLocation
from tests.support.images import JPEG

DAY_SECONDS = 86_400


def test_expired_images_are_removed_in_the_background(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = KeptImages(create_image_store(FileLocation(tmp_path), None), "https://images.example.com", days=2)
    assert None not in kept.keep([base64.b64encode(JPEG).decode()] * 2, "owner")
    old, new = (file for file in tmp_path.rglob("*") if file.is_file())
    os.utime(old, (time.time() - 3 * DAY_SECONDS,) * 2)
    monkeypatch.setattr(maintenance, "FIRST_RUN_SECONDS", 0.05)
    ImageMaintenance(kept).start()
    give_up = time.monotonic() + 10
    while old.exists():
        assert time.monotonic() < give_up
        time.sleep(0.02)
    assert new.exists()
