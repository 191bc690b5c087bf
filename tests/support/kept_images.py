"""Gateways that keep images, in a folder and in S3, and requests to them."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support import processes
from tests.support.fake_minimax import FakeMinimax, respond, start_fake_minimax, success
from tests.support.images import JPEG, PNG, WEBP
from tests.support.processes import API_KEY, Served
from tests.support.s3_server import BUCKET, S3Server

OTHER_KEY = "another-key-for-tests"
PUBLIC_URL = "https://images.example.com/base"
LARGE_JPEG = JPEG + os.urandom(700) * 1000
DRAWN = (JPEG, PNG, WEBP, LARGE_JPEG)
DAY_SECONDS = 86_400


def drawing(*images: bytes) -> dict[str, Any]:
    """MiniMax's response with `images` as base64."""
    document = success(len(images), response_format="base64")
    document["data"] = {"image_base64": [base64.b64encode(image).decode() for image in images]}
    return document


@dataclass(frozen=True)
class KeepingGateway:
    """A gateway that keeps images below `folder`, each in a file whose name begins with its id."""

    upstream: FakeMinimax
    gateway: Served
    folder: Path

    def draw(self, *images: bytes, key: str = API_KEY, **fields: Any) -> requests.Response:
        """A call for which MiniMax draws `images`."""
        self.upstream.script = respond(drawing(*images))
        return self.post(key=key, **fields)

    def post(self, key: str = API_KEY, **fields: Any) -> requests.Response:
        document = {"model": "MiniMax-Image-01", "prompt": "p"} | fields
        return self._send("POST", "/v1/images/generations", key, json=document)

    def keep(self, image: bytes = JPEG, key: str = API_KEY) -> str:
        """The path of an image that is drawn and kept."""
        [item] = self.draw(image, key=key).json()["data"]
        return path_of(item["url"])

    def get(self, path: str, method: str = "GET", **headers: str) -> requests.Response:
        """Without a key. Redirects are followed."""
        return requests.request(method, self.gateway.url + path, headers=headers, timeout=30, allow_redirects=True)

    def delete(self, image_id: str, key: str | None = API_KEY) -> requests.Response:
        return self._send("DELETE", f"/v1/images/{image_id}", key)

    def files(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.is_file()]

    def make_older(self, path: str, days: float) -> None:
        """Change when the image under `path` was kept."""
        [file] = [file for file in self.files() if file.name.startswith(id_of(path))]
        then = time.time() - days * DAY_SECONDS
        os.utime(file, (then, then))

    def _send(self, method: str, path: str, key: str | None, **more: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return requests.request(method, self.gateway.url + path, headers=headers, timeout=60, **more)


def path_of(url: str) -> str:
    assert url.startswith(f"{PUBLIC_URL}/images/")
    return url.removeprefix(PUBLIC_URL)


def id_of(path: str) -> str:
    return path.removeprefix("/images/").partition(".")[0]


def keeping_variables(store: str) -> dict[str, str]:
    return {"AMUX_IMAGE_STORE": store, "AMUX_PUBLIC_URL": PUBLIC_URL, "AMUX_API_KEYS": f"{API_KEY},{OTHER_KEY}"}


@pytest.fixture(scope="session")
def file_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeepingGateway]:
    folder = tmp_path_factory.mktemp("keeping")
    variables = keeping_variables(f"file://{folder}/images") | {"AMUX_MAX_CALLS": "1", "WEB_CONCURRENCY": "1"}
    with start_fake_minimax() as upstream, processes.gateway(folder, upstream.url, **variables) as gateway:
        yield KeepingGateway(upstream, gateway, folder / "images")


@pytest.fixture(scope="session")
def s3_gateway(shared_s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeepingGateway]:
    folder = tmp_path_factory.mktemp("keeping")
    variables = keeping_variables(f"s3://{BUCKET}/kept") | {"WEB_CONCURRENCY": "1"} | shared_s3.variables
    with start_fake_minimax() as upstream, processes.gateway(folder, upstream.url, **variables) as gateway:
        yield KeepingGateway(upstream, gateway, shared_s3.objects / BUCKET / "kept" / "images")
