"""openai-python, as people install it, against a real gunicorn over a real socket."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import openai
import pytest
import requests
from openai import APIStatusError, AsyncOpenAI, OpenAI

from tests.sdk.cases import (
    AWKWARD_URLS,
    EDITS,
    FACE_REFERENCE,
    FORM_REFERENCES,
    GENERATIONS,
    INVALID_FIELDS,
    INVALID_FIELDS_IDS,
    LIVE,
    MB,
    MODEL,
    PLAIN,
    PROMPT,
    PROTOCOL_ERRORS,
    TOO_LARGE_IMAGE,
    TWO_IMAGES,
    UNKNOWN_MODEL,
    WRONG_KEY,
    Error,
    InvalidField,
    Payload,
    UpstreamFailure,
    has_reference,
    large_jpeg,
    logged,
    new_request_id,
    pixels,
    statuses,
)
from tests.support.fake_minimax import FakeMinimax, error_response, in_turn, respond, success
from tests.support.images import JPEG, PNG, data_url
from tests.support.processes import API_KEY, Served

GOOD: dict[str, Any] = {"model": MODEL, "prompt": PROMPT}


@pytest.fixture
def drawing(served: Served) -> Iterator[OpenAI]:
    """A client with its defaults, of the gateway in front of the sandbox."""
    with OpenAI(base_url=f"{served.url}/v1", api_key=API_KEY) as client:
        yield client


@pytest.fixture
def sdk(gateway: Served) -> Iterator[OpenAI]:
    """A client with its defaults, of the gateway in front of `upstream`."""
    with OpenAI(base_url=f"{gateway.url}/v1", api_key=API_KEY) as client:
        yield client


def error_of(call: Callable[[], object]) -> APIStatusError:
    with pytest.raises(APIStatusError) as caught:
        call()
    return caught.value


def seen_by_sdk(error: APIStatusError) -> Error:
    return Error(type(error).__name__, error.status_code, error.code, error.param, error.type)


def download(url: str | None) -> bytes:
    assert url is not None
    response = requests.get(url, timeout=10)
    response.raise_for_status()
    return response.content


# Images


@pytest.mark.parametrize(("size", "drawn"), [("1024x1024", (1024, 1024)), ("1792x1024", (1280, 720))])
def test_a_size_gives_the_url_of_an_image_of_its_ratio(drawing: OpenAI, size: str, drawn: tuple[int, int]) -> None:
    response = drawing.images.generate(model=MODEL, prompt=PROMPT, n=1, size=size)
    assert response.data is not None
    [image] = response.data
    assert pixels(download(image.url)) == drawn
    assert image.b64_json is None
    assert response.created > 0


def test_aspect_ratio_n_and_seed_in_extra_body(drawing: OpenAI) -> None:
    """Four images of 21:9; the same seed gives the same images."""

    def generate() -> list[bytes]:
        response = drawing.images.generate(
            model=MODEL,
            prompt=PROMPT,
            n=4,
            extra_body={"aspect_ratio": "21:9", "seed": 20260430, "prompt_optimizer": True},
        )
        assert response.model_extra == {"metadata": {"success_count": "4", "failed_count": "0"}}
        return [download(image.url) for image in response.data or []]

    first = generate()
    assert [pixels(image) for image in first] == [(1344, 576)] * 4
    assert len(set(first)) == 4
    assert generate() == first


def test_b64_json_is_a_jpeg_of_the_right_size(drawing: OpenAI) -> None:
    response = drawing.images.generate(model=MODEL, prompt=PROMPT, size="832x1248", response_format="b64_json")
    assert response.data is not None
    [image] = response.data
    assert image.b64_json is not None
    assert pixels(base64.b64decode(image.b64_json, validate=True)) == (832, 1248)
    assert image.url is None


def test_a_reference_in_extra_body_is_used(drawing: OpenAI) -> None:
    response = drawing.images.generate(model=MODEL, prompt=PROMPT, extra_body={"subject_reference": FACE_REFERENCE})
    assert has_reference(download(response.data[0].url if response.data else None))
    response = drawing.images.generate(model=MODEL, prompt=PROMPT)
    assert not has_reference(download(response.data[0].url if response.data else None))


def test_an_uploaded_reference_is_used(drawing: OpenAI, face: Path) -> None:
    with face.open("rb") as file:
        response = drawing.images.edit(
            model=MODEL, prompt=PROMPT, image=file, n=1, size="1792x1024", response_format="b64_json"
        )
    image = base64.b64decode(response.data[0].b64_json or "" if response.data else "", validate=True)
    assert pixels(image) == (1280, 720)
    assert has_reference(image)


def test_the_async_client_generates_edits_and_raises(served: Served, face: Path) -> None:
    async def use() -> None:
        async with AsyncOpenAI(base_url=f"{served.url}/v1", api_key=API_KEY) as client:
            generated, edited = await asyncio.gather(
                client.images.generate(model=MODEL, prompt=PROMPT, response_format="b64_json"),
                client.images.edit(model=MODEL, prompt=PROMPT, image=face, response_format="b64_json"),
            )
            for response, with_face in ((generated, False), (edited, True)):
                image = base64.b64decode(response.data[0].b64_json or "" if response.data else "", validate=True)
                assert pixels(image) == (1024, 1024)
                assert has_reference(image) is with_face
            with pytest.raises(openai.PermissionDeniedError, match="not enabled"):
                await client.images.generate(model=LIVE, prompt=PROMPT)

    asyncio.run(use())


def test_models_are_listed_and_retrieved(sdk: OpenAI) -> None:
    [model] = sdk.models.list()
    assert (model.id, model.object, model.owned_by) == (MODEL, "model", "minimax")
    assert sdk.models.retrieve(MODEL) == model
    assert sdk.models.retrieve("image-01") == model


# What MiniMax is sent


@pytest.mark.parametrize("case", GENERATIONS, ids=str)
def test_generations_reach_minimax_intact(sdk: OpenAI, upstream: FakeMinimax, case: Payload) -> None:
    upstream.script = respond(success(response_format=case.sent.get("response_format", "url")))
    response = sdk.images.generate(**GOOD, **case.fields, extra_body=case.extra)
    assert len(response.data) == 1
    assert [request.json for request in upstream.received] == [PLAIN | case.sent]


@pytest.mark.parametrize("case", EDITS, ids=str)
def test_edits_reach_minimax_intact(sdk: OpenAI, upstream: FakeMinimax, face: Path, case: Payload) -> None:
    upstream.script = respond(success(response_format=case.sent.get("response_format", "url")))
    response = sdk.images.edit(**GOOD, **case.fields, image=face, extra_body=case.extra)
    assert len(response.data) == 1
    assert [request.json for request in upstream.received] == [
        PLAIN | case.sent | {"subject_reference": FACE_REFERENCE}
    ]


@pytest.mark.parametrize("case", FORM_REFERENCES, ids=str)
def test_an_edit_takes_subject_reference_instead_of_a_file(sdk: OpenAI, upstream: FakeMinimax, case: Payload) -> None:
    """openai-python requires `image`; an empty list sends no file."""
    sdk.images.edit(**GOOD, image=[], extra_body=case.extra)
    assert [request.json for request in upstream.received] == [PLAIN | case.sent]


UPLOADS: dict[str, Callable[[Path], Any]] = {
    "path": lambda face: face,
    "bytes": lambda face: face.read_bytes(),
    "stream": lambda face: BytesIO(face.read_bytes()),
    "named tuple": lambda face: ("face.jpg", face.read_bytes()),
    "wrongly declared": lambda face: ("face.png", face.read_bytes(), "image/png"),
    "list of one": lambda face: [face],
    "list of one tuple": lambda face: [("face.jpg", face.read_bytes(), "image/jpeg")],
}


@pytest.mark.parametrize("upload", UPLOADS.values(), ids=UPLOADS.keys())
def test_every_way_of_uploading_gives_the_same_bytes(
    sdk: OpenAI, upstream: FakeMinimax, face: Path, upload: Callable[[Path], Any]
) -> None:
    sdk.images.edit(**GOOD, image=upload(face))
    [request] = upstream.received
    assert request.json["subject_reference"] == FACE_REFERENCE


def test_open_files_are_uploaded(sdk: OpenAI, upstream: FakeMinimax, face: Path) -> None:
    with face.open("rb") as file:
        sdk.images.edit(**GOOD, image=file)
    with face.open("rb") as file:
        sdk.images.edit(**GOOD, image=[file])
    assert [request.json["subject_reference"] for request in upstream.received] == [
        FACE_REFERENCE,
        FACE_REFERENCE,
    ]


def test_a_png_is_recognized_by_its_bytes(sdk: OpenAI, upstream: FakeMinimax) -> None:
    sdk.images.edit(**GOOD, image=("face.jpg", PNG, "image/jpeg"))
    [request] = upstream.received
    assert request.json["subject_reference"][0]["image_file"] == data_url(PNG, "image/png")


# What the caller gets


def test_urls_are_passed_on_byte_for_byte(sdk: OpenAI, upstream: FakeMinimax) -> None:
    upstream.script = respond(success() | {"data": {"image_urls": AWKWARD_URLS}})
    response = sdk.images.generate(model=MODEL, prompt=PROMPT, n=2)
    assert [image.url for image in response.data or []] == list(AWKWARD_URLS)


def test_fields_without_effect_are_named_in_a_header(sdk: OpenAI) -> None:
    raw = sdk.images.with_raw_response.generate(model=MODEL, prompt=PROMPT, quality="hd", user="u")
    assert raw.headers["x-amux-ignored"] == "quality, user"


def test_request_ids_find_the_log_line(sdk: OpenAI, gateway: Served, upstream: FakeMinimax) -> None:
    """The SDK shows the gateway's id, or the caller's own, for responses and errors."""
    response = sdk.images.generate(model=MODEL, prompt=PROMPT)
    assert response._request_id is not None
    assert statuses(gateway, response._request_id) == {200: 1}

    own = new_request_id()
    upstream.script = respond(error_response(1026), headers={"Trace-Id": "trace-7"})
    error = error_of(lambda: sdk.images.generate(**GOOD, extra_headers={"x-request-id": own}))
    assert error.request_id == own
    assert error.response.headers["x-minimax-trace-id"] == "trace-7"
    [line] = logged(gateway, own)
    assert (line["status"], line["code"], line["trace_id"]) == (403, "1026", "trace-7")


# Errors


@pytest.mark.parametrize("case", PROTOCOL_ERRORS, ids=str)
def test_upstream_failures_are_typed_errors_and_retried_only_where_free(
    sdk: OpenAI, upstream: FakeMinimax, case: UpstreamFailure
) -> None:
    upstream.script = case.script
    error = error_of(lambda: sdk.images.generate(**GOOD))
    assert seen_by_sdk(error) == case.error
    assert case.message in error.message
    assert error.request_id
    assert len(upstream.received) == case.calls


def test_a_transient_rate_limit_is_retried_by_the_sdk(sdk: OpenAI, upstream: FakeMinimax, face: Path) -> None:
    """The SDK sends the whole upload again."""
    upstream.script = in_turn(respond(error_response(1002), headers={"Retry-After": "1"}), respond(success()))
    response = sdk.images.edit(model=MODEL, prompt=PROMPT, image=face)
    assert response.data is not None
    assert response.data[0].url == success()["data"]["image_urls"][0]
    assert [request.json["subject_reference"] for request in upstream.received] == [
        FACE_REFERENCE,
        FACE_REFERENCE,
    ]


@pytest.mark.parametrize("case", INVALID_FIELDS, ids=INVALID_FIELDS_IDS)
def test_an_invalid_field_is_named_and_nothing_is_sent(
    sdk: OpenAI, gateway: Served, upstream: FakeMinimax, case: InvalidField
) -> None:
    own = new_request_id()
    error = error_of(lambda: sdk.images.generate(**GOOD | case.fields, extra_headers={"x-request-id": own}))
    assert seen_by_sdk(error) == case.error
    assert case.message in error.message
    assert statuses(gateway, own) == {case.error.status: 1}
    assert upstream.received == []


@pytest.mark.parametrize(
    "use",
    [
        lambda client: client.images.generate(**GOOD),
        lambda client: client.images.edit(**GOOD, image=JPEG),
        lambda client: client.models.list(),
        lambda client: client.models.retrieve(MODEL),
    ],
    ids=["generate", "edit", "list models", "retrieve model"],
)
def test_a_wrong_key_is_an_authentication_error(
    gateway: Served, upstream: FakeMinimax, use: Callable[[OpenAI], object]
) -> None:
    with OpenAI(base_url=f"{gateway.url}/v1", api_key="a-wrong-key") as client:
        error = error_of(lambda: use(client))
    assert seen_by_sdk(error) == WRONG_KEY
    assert "API key" in error.message
    assert "a-wrong-key" not in error.response.text
    assert error.request_id
    assert upstream.received == []


@pytest.mark.parametrize("name", ["gpt-image-1", LIVE])
def test_an_unknown_model_is_404(sdk: OpenAI, name: str) -> None:
    """A model that exists but is not enabled is unknown here."""
    assert seen_by_sdk(error_of(lambda: sdk.models.retrieve(name))) == UNKNOWN_MODEL


@pytest.mark.parametrize(
    "images",
    [[JPEG, PNG], [("a.jpg", JPEG), ("b.jpg", JPEG)]],
    ids=["bytes", "named"],
)
def test_two_files_are_rejected(sdk: OpenAI, upstream: FakeMinimax, images: list[Any]) -> None:
    error = error_of(lambda: sdk.images.edit(**GOOD, image=images))
    assert seen_by_sdk(error) == TWO_IMAGES
    assert "one reference image, not 2" in error.message
    assert upstream.received == []


def test_a_file_and_a_subject_reference_are_rejected(sdk: OpenAI, upstream: FakeMinimax) -> None:
    error = error_of(lambda: sdk.images.edit(**GOOD, image=JPEG, extra_body={"subject_reference": FACE_REFERENCE}))
    assert seen_by_sdk(error) == TWO_IMAGES
    assert "not both" in error.message
    assert upstream.received == []


def test_an_edit_without_a_reference_is_rejected(sdk: OpenAI, upstream: FakeMinimax) -> None:
    error = error_of(lambda: sdk.images.edit(**GOOD, image=[]))
    assert seen_by_sdk(error) == TWO_IMAGES
    assert "image is required" in error.message
    assert upstream.received == []


def test_a_mask_is_rejected(sdk: OpenAI, upstream: FakeMinimax) -> None:
    error = error_of(lambda: sdk.images.edit(**GOOD, image=JPEG, mask=PNG))
    assert seen_by_sdk(error) == Error("BadRequestError", 400, "invalid_value", "mask")
    assert upstream.received == []


# Large uploads


def test_an_image_of_12_mb_is_rejected_by_its_limit(sdk: OpenAI, upstream: FakeMinimax) -> None:
    error = error_of(lambda: sdk.images.edit(**GOOD, image=large_jpeg(12 * MB)))
    assert seen_by_sdk(error) == TOO_LARGE_IMAGE
    assert "10 MB" in error.message
    assert upstream.received == []


@pytest.mark.parametrize(
    "upload",
    [
        lambda client, headers: client.images.edit(**GOOD, image=large_jpeg(20 * MB), extra_headers=headers),
        lambda client, headers: client.images.generate(
            **GOOD, extra_body={"subject_reference": [{"image_file": "A" * 20 * MB}]}, extra_headers=headers
        ),
    ],
    ids=["form", "json"],
)
def test_a_body_of_20_mb_is_413_after_one_upload(
    sdk: OpenAI, gateway: Served, upstream: FakeMinimax, upload: Callable[[OpenAI, dict[str, str]], object]
) -> None:
    """There is no connection error, and the SDK does not upload three times."""
    own = new_request_id()
    error = error_of(lambda: upload(sdk, {"x-request-id": own}))
    assert seen_by_sdk(error) == Error("APIStatusError", 413, "request_entity_too_large")
    assert error.message
    [line] = logged(gateway, own)
    assert line["status"] == 413
    assert line["bytes_in"] > 20 * MB
    assert upstream.received == []
