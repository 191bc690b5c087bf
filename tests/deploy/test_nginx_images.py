"""nginx sends the images that are kept, with AMUX_IMAGE_ACCEL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import processes
from tests.support.fake_minimax import start_fake_minimax
from tests.support.images import JPEG
from tests.support.kept_images import KeepingGateway, id_of, keeping_variables
from tests.support.nginx import needs_nginx, nginx

pytestmark = needs_nginx


@pytest.fixture(scope="module")
def fronted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeepingGateway]:
    folder = tmp_path_factory.mktemp("accel")
    images = folder / "images"
    variables = keeping_variables(f"file://{images}") | {"AMUX_IMAGE_ACCEL": "true", "WEB_CONCURRENCY": "1"}
    with (
        start_fake_minimax() as upstream,
        processes.gateway(folder, upstream.url, **variables) as gateway,
        nginx(folder, gateway.url, changes={"/var/lib/amux/images/": f"{images}/"}) as front,
    ):
        yield KeepingGateway(upstream, replace(gateway, url=front.url), images)


def test_nginx_sends_the_file(fronted: KeepingGateway) -> None:
    path = fronted.keep()
    response = fronted.get(path, **{"x-request-id": "mine"})
    assert (response.status_code, response.content) == (200, JPEG)
    assert response.headers["Content-Type"] == "image/jpeg"
    assert response.headers["Content-Length"] == str(len(JPEG))
    assert response.headers["Cache-Control"].startswith("private, max-age=")
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["x-request-id"] == "mine"
    assert "X-Accel-Redirect" not in response.headers
    assert fronted.get(path, "HEAD").headers["Content-Length"] == str(len(JPEG))
    part = fronted.get(path, Range="bytes=3-6")
    assert (part.status_code, part.content) == (206, JPEG[3:7])


def test_a_caller_cannot_ask_for_the_internal_path(fronted: KeepingGateway) -> None:
    path = fronted.keep()
    [file] = [file for file in fronted.files() if file.name.startswith(id_of(path))]
    internal = f"/amux-images/{file.relative_to(fronted.folder)}"
    for asked in (internal, "/amux-images/", f"/images/..{internal}"):
        response = fronted.get(asked)
        assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")


def test_a_deleted_image_is_404(fronted: KeepingGateway) -> None:
    path = fronted.keep()
    assert fronted.delete(id_of(path)).status_code == 200
    assert fronted.get(path).json()["error"]["code"] == "image_not_found"


def test_a_folder_that_is_gone_is_no_page_of_nginx(fronted: KeepingGateway, tmp_path: Path) -> None:
    path = fronted.keep()
    fronted.folder.rename(tmp_path / "gone")
    assert fronted.get(path).json()["error"]["code"] == "image_store_unavailable"
    (tmp_path / "gone").rename(fronted.folder)
