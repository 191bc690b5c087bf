"""`images list`, `images delete` and `images purge`."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from app.commands.app import create_commands
from app.image_store.create import create_image_store
from app.image_store.kept_images import KeptImages
from app.image_store.s3_store import S3ImageStore
from app.objects.location import FileLocation
from app.objects.s3_objects import S3Objects
from app.settings import Settings
from tests.commands.conftest import document, failure, printed
from tests.support.images import JPEG, PNG
from tests.support.kept_images import id_of
from tests.support.processes import ROOT, environment
from tests.support.s3_server import BUCKET, S3Server, needs_s3

OWNER = "0123456789ab"
TEXT = base64.b64encode(JPEG).decode()
Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs `images …` on the store in `tmp_path`."""
    settings = Settings(api_keys=(), minimax_api_key="", image_store=FileLocation(tmp_path))
    runner = create_commands(settings).test_cli_runner()
    return lambda *arguments: runner.invoke(args=["images", *arguments])


@pytest.fixture
def ids(tmp_path: Path) -> list[str]:
    """A JPEG that has expired and a PNG that has not."""
    texts = [base64.b64encode(image).decode() for image in (JPEG, PNG)]
    urls = KeptImages(create_image_store(FileLocation(tmp_path), None), "", 30).keep(texts, OWNER)
    found = [id_of(url or "") for url in urls]
    [old] = tmp_path.rglob(f"{found[0]}*")
    os.utime(old, (time.time() - 31 * 86_400,) * 2)
    return found


def test_list(run: Run, ids: list[str]) -> None:
    rows = document(run("list", "--json"))
    assert [(row["id"], row["caller"], row["format"], row["bytes"]) for row in rows] == [
        (ids[0], OWNER, "jpg", len(JPEG)),
        (ids[1], OWNER, "png", len(PNG)),
    ]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row["expires_at"]) for row in rows)
    head, *lines = printed(run("list", "--csv")).splitlines()
    assert head == "id,caller,format,bytes,created_at,expires_at"
    assert [line.partition(",")[0] for line in lines] == ids
    assert printed(run("list")).splitlines()[2].startswith(f"{ids[1]}  {OWNER}  png")


def test_delete(run: Run, ids: list[str]) -> None:
    assert printed(run("delete", ids[1])) == f"{ids[1]} is deleted.\n"
    for image_id in (ids[1], ids[0], "../x"):
        assert failure(run("delete", image_id)) == "There is no such image, or it has expired."
    assert [row["id"] for row in document(run("list", "--json"))] == [ids[0]]


def test_purge(run: Run, ids: list[str]) -> None:
    counts = {"removed": 1, "removed_bytes": len(JPEG), "kept": 1, "kept_bytes": len(PNG)}
    assert document(run("purge", "--json")) == counts
    assert printed(run("purge")) == f"Removed: 0 images, 0 bytes. Kept: 1 images, {len(PNG)} bytes.\n"
    assert [row["id"] for row in document(run("list", "--json"))] == [ids[1]]


@pytest.mark.parametrize("command", [("list",), ("purge",), ("delete", "0" * 32)], ids=" ".join)
def test_a_missing_folder_is_one_line(tmp_path: Path, run: Run, command: tuple[str, ...]) -> None:
    tmp_path.rmdir()
    assert failure(run(*command)).startswith("The image store is unavailable: ")
    tmp_path.mkdir()


def test_without_a_store_there_is_one_line() -> None:
    runner = create_commands(Settings(api_keys=(), minimax_api_key="")).test_cli_runner()
    assert failure(runner.invoke(args=["images", "list"])) == "AMUX_IMAGE_STORE must be set, as the gateway has it."


@needs_s3
def test_images_in_s3(shared_s3: S3Server) -> None:
    """The commands need the store's settings only."""
    prefix = uuid.uuid4().hex
    store = S3ImageStore(S3Objects(shared_s3.client(), BUCKET, f"{prefix}/images/"))
    old, deleted, kept = (id_of(url or "") for url in KeptImages(store, "", 30).keep([TEXT] * 3, OWNER))
    os.utime(shared_s3.objects / BUCKET / prefix / "images" / f"{old}.jpg", (time.time() - 31 * 86_400,) * 2)

    def run(*arguments: str) -> str:
        variables = {"AMUX_IMAGE_STORE": f"s3://{BUCKET}/{prefix}"} | shared_s3.variables
        command = ["flask", "--app", "wsgi", "images", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=environment(**variables), capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    counts = {"removed": 1, "removed_bytes": len(JPEG), "kept": 2, "kept_bytes": 2 * len(JPEG)}
    assert json.loads(run("purge", "--json")) == counts
    assert run("delete", deleted) == f"{deleted} is deleted.\n"
    assert [(row["id"], row["caller"]) for row in json.loads(run("list", "--json"))] == [(kept, None)]
