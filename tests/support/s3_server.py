"""versitygw, a real S3 server over a folder, that a test may stop and start again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from botocore.session import get_session

from app.objects.s3_objects import CONFIG
from tests.support.processes import HOST, START_SECONDS, free_port

BUCKET = "pictures"
ACCESS, SECRET = "access-key-for-tests", "secret-key-for-tests"
PATH = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
VERSITYGW = shutil.which("versitygw", path=PATH)
needs_s3 = pytest.mark.skipif(VERSITYGW is None, reason="versitygw is missing: run scripts/install-test-tools")


class S3Server:
    """A server with one bucket. It keeps metadata in a second folder, since not every disk has extended attributes."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        self.objects = folder / "objects"
        self._sidecar = folder / "metadata"
        self._log = folder / "versitygw.log"
        for path in (self.objects / BUCKET, self._sidecar):
            path.mkdir(parents=True)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def variables(self) -> dict[str, str]:
        """AWS's usual variables."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": ACCESS,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self) -> Any:
        return s3_client(self.url)

    def start(self) -> None:
        assert VERSITYGW is not None
        command = [VERSITYGW, "--access", ACCESS, "--secret", SECRET, "--port", f"{HOST}:{self.port}"]
        command += ["--health", "/health", "posix", "--sidecar", str(self._sidecar), str(self.objects)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        give_up = time.monotonic() + START_SECONDS
        while not self._responds():
            if self._process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"versitygw does not respond:\n{self._log.read_text()}")
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _responds(self) -> bool:
        try:
            return requests.get(f"{self.url}/health", timeout=2).ok
        except requests.RequestException:
            return False


def s3_client(url: str) -> Any:
    """The gateway's own client, in front of another server."""
    keys = {"aws_access_key_id": ACCESS, "aws_secret_access_key": SECRET}
    return get_session().create_client("s3", endpoint_url=url, region_name="us-east-1", config=CONFIG, **keys)


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    server = S3Server(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def shared_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One server for all tests that do not stop it."""
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server
