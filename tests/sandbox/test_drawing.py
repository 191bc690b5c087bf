"""The sandbox draws JPEGs of the right size, which differ by prompt, seed and index."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

import pytest
import requests
from flask.testing import FlaskClient
from PIL import Image, ImageChops

from app.sandbox.app import MAX_STORED_IMAGES, ImageStore
from tests.sandbox.conftest import Draw
from tests.sdk.cases import has_reference, pixels
from tests.support.images import JPEG, data_url
from tests.support.processes import UPSTREAM_KEY

# As MiniMax documents them.
SIZES = {
    "1:1": (1024, 1024),
    "16:9": (1280, 720),
    "4:3": (1152, 864),
    "3:2": (1248, 832),
    "2:3": (832, 1248),
    "3:4": (864, 1152),
    "9:16": (720, 1280),
    "21:9": (1344, 576),
}


def images_of(response: Any) -> list[bytes]:
    return [base64.b64decode(text, validate=True) for text in response["data"]["image_base64"]]


def image_of(response: Any) -> bytes:
    [drawn] = images_of(response)
    return drawn


@pytest.mark.parametrize("ratio", SIZES)
def test_each_ratio_has_its_size(draw: Draw, ratio: str) -> None:
    assert pixels(image_of(draw(aspect_ratio=ratio))) == SIZES[ratio]


def test_the_default_ratio_is_square(draw: Draw) -> None:
    assert pixels(image_of(draw())) == (1024, 1024)


def test_width_and_height_are_used_without_a_ratio(draw: Draw) -> None:
    assert pixels(image_of(draw(width=512, height=2048))) == (512, 2048)
    assert pixels(image_of(draw(width=512, height=2048, aspect_ratio="3:2"))) == (1248, 832)


def test_images_depend_on_prompt_and_seed_only(draw: Draw) -> None:
    def row(**fields: Any) -> list[bytes]:
        return images_of(draw(**({"n": 3, "seed": 7} | fields)))

    first = row()
    assert row() == first
    assert row(response_format="base64", prompt_optimizer=True) == first
    assert len({*first, *row(seed=8), *row(prompt="A lighthouse."), *row(seed=-7)}) == 12


def test_without_a_seed_each_image_differs(draw: Draw) -> None:
    assert len({image_of(draw()) for _ in range(3)}) == 3


def test_images_of_one_response_look_different(draw: Draw) -> None:
    """The bytes differ, and so does the middle of a thumbnail."""
    first, second = (
        Image.open(BytesIO(drawn)).convert("RGB").resize((16, 16)) for drawn in images_of(draw(n=2, seed=1))
    )
    difference = ImageChops.difference(first, second).convert("L")
    assert sum(difference.histogram()[40:]) > 0


@pytest.mark.parametrize(
    "prompt", ["水彩の港", "🦦🦦🦦", "a" * 1500, "水" * 1500, "\n\t\r", "\0\x01\x7f", "‮rtl‬", " ", "مرحبا", "é" * 3]
)
def test_any_prompt_can_be_drawn(draw: Draw, prompt: str) -> None:
    assert pixels(image_of(draw(prompt=prompt, aspect_ratio="9:16"))) == (720, 1280)


def test_a_reference_is_in_the_corner(draw: Draw) -> None:
    fields = {"seed": 3, "aspect_ratio": "16:9"}
    with_face = image_of(draw(**fields, subject_reference=[{"type": "character", "image_file": data_url(JPEG)}]))
    by_url = image_of(draw(**fields, subject_reference=[{"type": "character", "image_file": "http://faces.example/a"}]))
    without = image_of(draw(**fields))
    assert has_reference(with_face)
    assert not has_reference(without)
    assert by_url == without  # it is not fetched


def test_a_reference_that_only_begins_like_an_image_is_accepted(draw: Draw) -> None:
    reference = [{"type": "character", "image_file": data_url(b"\xff\xd8\xff nothing")}]
    assert draw(subject_reference=reference)["base_resp"]["status_code"] == 0


# The response


def test_base64_is_bare_and_counts_are_strings(draw: Draw) -> None:
    response = draw(n=2)
    assert list(response["data"]) == ["image_base64"]
    assert response["metadata"] == {"success_count": "2", "failed_count": "0"}
    assert response["base_resp"] == {"status_code": 0, "status_msg": "success"}
    assert all(text.startswith("/9j/") for text in response["data"]["image_base64"])


@pytest.mark.parametrize("fields", [{"response_format": "url"}, {}])
def test_urls_are_the_default_and_lead_to_the_images(sandbox_url: str, fields: dict[str, str]) -> None:
    body = {"model": "image-01", "prompt": "a", "n": 2, "seed": 1, **fields}
    headers = {"Authorization": f"Bearer {UPSTREAM_KEY}"}
    response = requests.post(f"{sandbox_url}/v1/image_generation", json=body, headers=headers, timeout=30).json()
    again = requests.post(
        f"{sandbox_url}/v1/image_generation", json=body | {"response_format": "base64"}, headers=headers, timeout=30
    ).json()
    assert list(response["data"]) == ["image_urls"]
    found = [requests.get(url, timeout=10) for url in response["data"]["image_urls"]]
    assert {reply.headers["Content-Type"] for reply in found} == {"image/jpeg"}
    assert [reply.content for reply in found] == images_of(again)
    assert requests.get(f"{sandbox_url}/images/unknown.jpg", timeout=10).status_code == 404


@pytest.mark.parametrize("prompt", ["a", "sandbox:1026"])
def test_every_response_has_its_own_trace_id(sandbox: FlaskClient, prompt: str) -> None:
    responses = [sandbox.post("/v1/image_generation", json={"model": "image-01", "prompt": prompt}) for _ in range(2)]
    traces = [response.headers["Trace-Id"] for response in responses]
    assert len(set(traces)) == 2
    assert all(response.get_json()["id"] == trace for response, trace in zip(responses, traces, strict=True))


def test_healthz_needs_no_key(sandbox: FlaskClient) -> None:
    del sandbox.environ_base["HTTP_AUTHORIZATION"]
    assert sandbox.get("/healthz").get_json() == {"status": "ok"}


def test_the_oldest_images_are_dropped() -> None:
    store = ImageStore()
    names = [store.add(b"%d" % number) for number in range(MAX_STORED_IMAGES + 1)]
    assert store.get(names[0]) is None
    assert store.get(names[1]) == b"1"
    assert store.get(names[-1]) == b"%d" % MAX_STORED_IMAGES
