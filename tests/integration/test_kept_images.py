"""Images kept in a folder and in S3: what is served, to whom, for how long, and what happens when the store is gone."""

from __future__ import annotations

import base64
import json
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
import requests

from app.accounts.api_key import fingerprint
from tests.integration.billing_gateway import PRICE, billing_gateway
from tests.integration.raw_http import Caller, head
from tests.support import processes
from tests.support.databases import ScratchDatabase
from tests.support.fake_minimax import FakeMinimax, respond, start_fake_minimax
from tests.support.images import JPEG, PNG
from tests.support.kept_images import (
    DRAWN,
    LARGE_JPEG,
    OTHER_KEY,
    PUBLIC_URL,
    KeepingGateway,
    drawing,
    id_of,
    keeping_variables,
    path_of,
)
from tests.support.processes import API_KEY
from tests.support.s3_server import BUCKET, needs_s3, s3_server
from tests.support.waiting import wait_until


@pytest.fixture(params=["file", pytest.param("s3", marks=needs_s3)])
def keeping(request: pytest.FixtureRequest) -> KeepingGateway:
    found: KeepingGateway = request.getfixturevalue(f"{request.param}_gateway")
    found.upstream.received.clear()
    return found


def test_a_url_has_what_minimax_drew(keeping: KeepingGateway) -> None:
    response = keeping.draw(*DRAWN, n=4)
    assert response.status_code == 200
    assert "x-amux-image-store" not in response.headers
    assert keeping.upstream.received[-1].json["response_format"] == "base64"
    paths = [path_of(item["url"]) for item in response.json()["data"]]
    assert [path.partition(".")[2] for path in paths] == ["jpg", "png", "webp", "jpg"]
    assert len({id_of(path) for path in paths}) == 4
    for path, image in zip(paths, DRAWN, strict=True):
        assert keeping.get(path).content == image


def test_base64_is_not_kept(keeping: KeepingGateway) -> None:
    before = set(keeping.files())
    [item] = keeping.draw(JPEG, response_format="b64_json").json()["data"]
    assert base64.b64decode(item["b64_json"]) == JPEG
    assert set(keeping.files()) <= before  # the gateway may have removed expired ones meanwhile


def test_a_stream_has_the_image_and_its_url(keeping: KeepingGateway) -> None:
    lines = keeping.draw(LARGE_JPEG, PNG, stream=True).text.splitlines()
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    assert [base64.b64decode(event["b64_json"]) for event in events] == [LARGE_JPEG, PNG]
    assert [keeping.get(path_of(event["url"])).content for event in events] == [LARGE_JPEG, PNG]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_headers_of_a_file(file_gateway: KeepingGateway, method: str) -> None:
    response = file_gateway.get(file_gateway.keep(), method)
    assert response.status_code == 200
    assert response.content == (JPEG if method == "GET" else b"")
    assert response.headers["Content-Type"] == "image/jpeg"
    assert response.headers["Content-Length"] == str(len(JPEG))
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    private, max_age, immutable = response.headers["Cache-Control"].split(", ")
    assert (private, immutable) == ("private", "immutable")
    assert 30 * 86_400 - 60 < int(max_age.removeprefix("max-age=")) <= 30 * 86_400


@needs_s3
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_s3_is_a_redirect_to_a_url_signed_for_an_hour(s3_gateway: KeepingGateway, method: str) -> None:
    response = s3_gateway.get(s3_gateway.keep(), method)
    [redirect] = response.history
    assert (redirect.status_code, redirect.content) == (302, b"")
    assert "X-Amz-Expires=3600" in redirect.headers["Location"]
    assert redirect.headers["Cache-Control"] == "private, max-age=3000"
    assert fingerprint(API_KEY) not in redirect.headers["Location"]
    assert (response.status_code, response.content) == (200, JPEG if method == "GET" else b"")
    assert response.headers["Content-Type"] == "image/jpeg"
    assert response.headers["Cache-Control"].startswith("private, max-age=")


RANGES = [
    ("bytes=10-19", slice(10, 20)),
    ("bytes=600000-", slice(600_000, None)),
    ("bytes=-5", slice(-5, None)),
    ("bytes=-99999999", slice(None)),  # the last part is longer than the image
]
IGNORED_RANGES = ["items=0-1", "bytes=0-1,4-5", "bytes=5-2", "bytes=x", "bytes=-0"]


@pytest.mark.parametrize(("sent", "part"), RANGES, ids=[sent for sent, _ in RANGES])
def test_a_range(keeping: KeepingGateway, sent: str, part: slice) -> None:
    response = keeping.get(keeping.keep(LARGE_JPEG), Range=sent)
    assert (response.status_code, response.content) == (206, LARGE_JPEG[part])
    assert response.headers["Content-Range"].endswith(f"/{len(LARGE_JPEG)}")


@pytest.mark.parametrize("sent", IGNORED_RANGES)
def test_a_range_that_is_ignored(file_gateway: KeepingGateway, sent: str) -> None:
    response = file_gateway.get(file_gateway.keep(), Range=sent)
    assert (response.status_code, response.content) == (200, JPEG)
    assert response.headers["Accept-Ranges"] == "bytes"


def test_a_range_has_no_effect_on_head(file_gateway: KeepingGateway) -> None:
    response = file_gateway.get(file_gateway.keep(), "HEAD", Range="bytes=0-1")
    assert (response.status_code, response.headers["Content-Length"]) == (200, str(len(JPEG)))


def test_a_range_beyond_the_end(file_gateway: KeepingGateway) -> None:
    response = file_gateway.get(file_gateway.keep(), Range="bytes=99999-")
    assert (response.status_code, response.headers["Content-Range"]) == (416, f"bytes */{len(JPEG)}")
    assert response.json()["error"]["code"] == "requested_range_not_satisfiable"


def test_an_etag_saves_the_transfer(file_gateway: KeepingGateway) -> None:
    path = file_gateway.keep()
    etag = file_gateway.get(path).headers["ETag"]
    for more in ({}, {"Range": "bytes=0-1"}):
        response = file_gateway.get(path, **{"If-None-Match": etag}, **more)
        assert (response.status_code, response.content) == (304, b"")


def test_a_precondition_that_fails_is_an_error(file_gateway: KeepingGateway) -> None:
    path = file_gateway.keep()
    response = file_gateway.get(path, **{"If-Match": '"another"'})
    assert response.status_code == 412
    assert response.json()["error"]["code"] == "precondition_failed"
    assert response.headers["x-should-retry"] == "false"
    etag = file_gateway.get(path).headers["ETag"]
    assert file_gateway.get(path, **{"If-Match": etag}).content == JPEG


def test_requests_without_a_body_leave_no_file_open(file_gateway: KeepingGateway) -> None:
    path = file_gateway.keep()
    [worker] = Path(f"/proc/{file_gateway.gateway.process.pid}/task").glob("*/children")
    descriptors = Path(f"/proc/{worker.read_text().split()[0]}/fd")

    def is_open() -> bool:
        return any(id_of(path) in str(each.readlink()) for each in descriptors.iterdir() if each.is_symlink())

    for method, headers in (("HEAD", {}), ("GET", {"Range": "bytes=99999-"}), ("GET", {"If-None-Match": "*"})):
        file_gateway.get(path, method, **headers)
        assert not is_open()


def test_an_expired_image_is_gone(keeping: KeepingGateway) -> None:
    path, young = keeping.keep(), keeping.keep()
    keeping.make_older(path, 30.01)
    keeping.make_older(young, 29.99)
    assert_not_found(keeping.get(path))
    assert_not_found(keeping.delete(id_of(path)))
    assert keeping.get(young).status_code == 200


def test_an_image_is_deleted_by_the_key_that_paid(keeping: KeepingGateway) -> None:
    path = keeping.keep(key=OTHER_KEY)
    image_id = id_of(path)
    assert_not_found(keeping.delete(image_id))
    assert keeping.delete(image_id, key=None).status_code == 401
    assert keeping.get(path).status_code == 200
    response = keeping.delete(image_id, key=OTHER_KEY)
    assert (response.status_code, response.json()) == (200, {"id": image_id, "object": "image", "deleted": True})
    assert_not_found(keeping.get(path))
    assert_not_found(keeping.delete(image_id, key=OTHER_KEY))


TRICKS = [
    *("ID", "ID.png", "ID.JPG", "ID.jpg.jpg", "IDa.jpg", "ID.OWNER.jpg", "SHORT.jpg", "UPPER.jpg", "0" * 32 + ".jpg"),
    *("..", "../ID.jpg", "ID/../ID.jpg", "ID.jpg/", "%2e%2e", "%2e%2e%2fID.jpg", "..%5cID.jpg", "%2fetc%2fpasswd"),
    *(".jpg", "*.jpg", "ID.jpg%00", "ID.jpg%0a", "write-check"),
]


@pytest.mark.parametrize("name", TRICKS)
def test_other_paths_lead_nowhere(keeping: KeepingGateway, name: str) -> None:
    image_id = id_of(keeping.keep())
    replaced = name.replace("OWNER", fingerprint(API_KEY)).replace("SHORT", image_id[:31])
    replaced = replaced.replace("UPPER", f"A{image_id[1:]}").replace("ID", image_id)
    with Caller(keeping.gateway.url) as caller:  # not normalized on the way
        reply = caller.send(head("GET", f"/images/{replaced}", key=None)).reply("GET")
    assert reply.status == 404
    assert reply.error["code"] in ("not_found", "image_not_found")


@pytest.mark.parametrize("name", ["..", "0" * 31, "0" * 33, "A" * 32, "z" * 32, "ID.jpg", "%2e%2e%2f" + "0" * 29])
def test_other_ids_are_not_deleted(file_gateway: KeepingGateway, name: str) -> None:
    path = file_gateway.keep()
    response = file_gateway.delete(name.replace("ID", id_of(path)))
    assert response.status_code == 404
    assert file_gateway.get(path).status_code == 200


def test_images_take_no_slot(file_gateway: KeepingGateway) -> None:
    path, may_go_on = file_gateway.keep(), threading.Event()

    def hold(connection: socket.socket) -> None:
        may_go_on.wait(30)
        respond(drawing(JPEG))(connection)

    file_gateway.upstream.received.clear()
    file_gateway.upstream.script = hold
    call = threading.Thread(target=file_gateway.post)
    call.start()
    wait_until(lambda: bool(file_gateway.upstream.received), "the call")
    assert file_gateway.post().json()["error"]["code"] == "gateway_full"
    assert file_gateway.get(path).content == JPEG
    assert file_gateway.delete(id_of(path)).status_code == 200
    may_go_on.set()
    call.join()


# A store that is gone


def test_a_folder_that_goes_costs_nobody_an_image(
    test_db: ScratchDatabase, tmp_path: Path, upstream: FakeMinimax
) -> None:
    folder = tmp_path / "images"
    variables: dict[str, Any] = {"AMUX_IMAGE_STORE": f"file://{folder}", "AMUX_PUBLIC_URL": PUBLIC_URL}

    def go_while_drawing(connection: socket.socket) -> None:
        folder.rename(tmp_path / "gone")
        respond(drawing(JPEG, LARGE_JPEG))(connection)

    upstream.script = go_while_drawing
    with billing_gateway(test_db, tmp_path, upstream.url, balance=10 * PRICE, **variables) as billing:
        keeping = KeepingGateway(upstream, billing.gateway, folder)
        assert_inline(keeping.post(key=billing.secret, n=2), JPEG, LARGE_JPEG)
        assert billing.balance == 8 * PRICE
        upstream.received.clear()
        assert_unavailable(keeping.post(key=billing.secret))
        assert upstream.received == []
        assert (billing.balance, billing.kinds()) == (8 * PRICE, ["reserve", "settle"])
        assert keeping.draw(JPEG, key=billing.secret, response_format="b64_json").status_code == 200
        (tmp_path / "gone").rename(folder)
        assert keeping.draw(JPEG, key=billing.secret).json()["data"][0]["url"].startswith(PUBLIC_URL)


@needs_s3
def test_a_server_that_goes_costs_nobody_an_image(tmp_path: Path) -> None:
    with s3_server(tmp_path) as server, start_fake_minimax() as upstream:
        variables = keeping_variables(f"s3://{BUCKET}") | server.variables | {"WEB_CONCURRENCY": "1"}
        with processes.gateway(tmp_path, upstream.url, **variables) as gateway:
            keeping = KeepingGateway(upstream, gateway, server.objects)

            def go_while_drawing(connection: socket.socket) -> None:
                server.stop()
                respond(drawing(JPEG, LARGE_JPEG))(connection)

            path = keeping.keep()
            upstream.script = go_while_drawing
            assert_inline(keeping.post(n=2), JPEG, LARGE_JPEG)
            upstream.received.clear()
            assert_unavailable(keeping.post())
            assert_unavailable(keeping.get(path))
            assert upstream.received == []
            server.start()
            wait_until(lambda: keeping.draw(JPEG).status_code == 200, "the store")
            assert keeping.get(path).content == JPEG
        assert "ERROR" not in gateway.log.read_text()


def assert_not_found(response: requests.Response) -> None:
    assert (response.status_code, response.json()["error"]["code"]) == (404, "image_not_found")


def assert_inline(response: requests.Response, *images: bytes) -> None:
    assert (response.status_code, response.headers["x-amux-image-store"]) == (200, "unavailable")
    expected = [f"data:image/jpeg;base64,{base64.b64encode(image).decode()}" for image in images]
    assert [item["url"] for item in response.json()["data"]] == expected


def assert_unavailable(response: requests.Response) -> None:
    assert (response.status_code, response.json()["error"]["code"]) == (503, "image_store_unavailable")
    assert (response.headers["x-should-retry"], response.headers["Retry-After"]) == ("true", "5")
