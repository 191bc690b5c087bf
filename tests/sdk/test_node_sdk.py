"""openai-node, as people install it, against a real gunicorn over a real socket; the calls are in node/run.mjs."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

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
from tests.support.processes import API_KEY, Served

FOLDER = Path(__file__).with_name("node")
NODE = Path(sys.executable).with_name("node")
GOOD = {"model": MODEL, "prompt": PROMPT}
CALL_SECONDS = 90  # run.mjs ends itself after 60

pytestmark = pytest.mark.skipif(
    not (NODE.exists() and (FOLDER / "node_modules" / "openai").is_dir()),
    reason="node or its openai package is missing: run scripts/install-test-tools",
)


@dataclass(frozen=True)
class Outcome:
    """The result of a call, or its error."""

    response: Any
    error: Error | None
    message: str
    request_id: str | None

    @property
    def images(self) -> list[dict[str, str]]:
        images: list[dict[str, str]] = self.response["data"]
        return images


class Sdk:
    """openai-node with its defaults; each call is a process of its own."""

    def __init__(self, served: Served, api_key: str = API_KEY) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
        self._environment = kept | {"OPENAI_BASE_URL": f"{served.url}/v1", "OPENAI_API_KEY": api_key}

    def call(self, case: str, **arguments: Any) -> Outcome:
        """Run `case` of run.mjs."""
        done = subprocess.run(
            [NODE, "run.mjs", case],
            input=json.dumps(arguments).encode(),
            cwd=FOLDER,
            env=self._environment,
            capture_output=True,
            timeout=CALL_SECONDS,
        )
        assert done.returncode == 0, done.stderr.decode()
        printed = json.loads(done.stdout)
        error = Error(**printed["error"]) if "error" in printed else None
        return Outcome(printed.get("response"), error, printed.get("message", ""), printed.get("requestId"))

    def call_successfully(self, case: str, **arguments: Any) -> Outcome:
        """Run `case` and check that it raised no error."""
        outcome = self.call(case, **arguments)
        assert outcome.error is None, outcome
        return outcome


@pytest.fixture
def drawing(served: Served) -> Sdk:
    """A client of the gateway in front of the sandbox."""
    return Sdk(served)


@pytest.fixture
def sdk(gateway: Served) -> Sdk:
    """A client of the gateway in front of `upstream`."""
    return Sdk(gateway)


def download(url: str) -> bytes:
    response = requests.get(url, timeout=10)
    response.raise_for_status()
    return response.content


# Images


def test_a_size_gives_the_url_of_an_image_of_its_ratio(drawing: Sdk) -> None:
    outcome = drawing.call_successfully("generate", fields=GOOD | {"n": 1, "size": "1792x1024"})
    [image] = outcome.images
    assert list(image) == ["url"]
    assert pixels(download(image["url"])) == (1280, 720)


def test_aspect_ratio_n_and_seed_in_the_first_argument(drawing: Sdk) -> None:
    """Four images of 21:9; the same seed gives the same images."""

    def generate() -> list[bytes]:
        extra = {"aspect_ratio": "21:9", "n": 4, "seed": 20260430, "prompt_optimizer": True}
        outcome = drawing.call_successfully("generate", fields=GOOD | extra)
        assert outcome.response["metadata"] == {"success_count": "4", "failed_count": "0"}
        return [download(image["url"]) for image in outcome.images]

    first = generate()
    assert [pixels(image) for image in first] == [(1344, 576)] * 4
    assert len(set(first)) == 4
    assert generate() == first


def test_b64_json_is_a_jpeg_of_the_right_size(drawing: Sdk) -> None:
    fields = GOOD | {"size": "832x1248", "response_format": "b64_json"}
    [image] = drawing.call_successfully("generate", fields=fields).images
    assert list(image) == ["b64_json"]
    assert pixels(base64.b64decode(image["b64_json"], validate=True)) == (832, 1248)


def test_a_reference_in_the_first_argument_is_used(drawing: Sdk) -> None:
    [image] = drawing.call_successfully("generate", fields=GOOD | {"subject_reference": FACE_REFERENCE}).images
    assert has_reference(download(image["url"]))


def test_an_uploaded_reference_is_used(drawing: Sdk, face: Path) -> None:
    fields = GOOD | {"n": 1, "size": "1792x1024", "response_format": "b64_json"}
    [image] = drawing.call_successfully("editStream", fields=fields, paths=[str(face)]).images
    drawn = base64.b64decode(image["b64_json"], validate=True)
    assert pixels(drawn) == (1280, 720)
    assert has_reference(drawn)


def test_models_are_listed_and_retrieved(sdk: Sdk) -> None:
    [model] = sdk.call_successfully("listModels").response
    assert (model["id"], model["object"], model["owned_by"]) == (MODEL, "model", "minimax")
    assert sdk.call_successfully("retrieveModel", name=MODEL).response == model


# What MiniMax is sent


@pytest.mark.parametrize("case", GENERATIONS, ids=str)
def test_generations_reach_minimax_intact(sdk: Sdk, upstream: FakeMinimax, case: Payload) -> None:
    upstream.script = respond(success(response_format=case.sent.get("response_format", "url")))
    outcome = sdk.call_successfully("generate", fields=GOOD | case.fields | case.extra)
    assert len(outcome.images) == 1
    assert [request.json for request in upstream.received] == [PLAIN | case.sent]


@pytest.mark.parametrize("case", EDITS, ids=str)
def test_edits_reach_minimax_intact(sdk: Sdk, upstream: FakeMinimax, face: Path, case: Payload) -> None:
    upstream.script = respond(success(response_format=case.sent.get("response_format", "url")))
    outcome = sdk.call_successfully("editBuffer", fields=GOOD | case.fields | case.extra, paths=[str(face)])
    assert len(outcome.images) == 1
    assert [request.json for request in upstream.received] == [
        PLAIN | case.sent | {"subject_reference": FACE_REFERENCE}
    ]


@pytest.mark.parametrize("case", FORM_REFERENCES, ids=str)
def test_an_edit_takes_subject_reference_instead_of_a_file(sdk: Sdk, upstream: FakeMinimax, case: Payload) -> None:
    sdk.call_successfully("editFields", fields=GOOD | case.extra)
    assert [request.json for request in upstream.received] == [PLAIN | case.sent]


@pytest.mark.parametrize(
    "way",
    [
        "editStream",
        "editListOfOneStream",
        "editBuffer",
        "editTypedBuffer",
        "editListOfOneBuffer",
        "editFile",
    ],
)
def test_every_way_of_uploading_gives_the_same_bytes(sdk: Sdk, upstream: FakeMinimax, face: Path, way: str) -> None:
    """Streams have no Content-Length; the fields beside them are not lost."""
    sdk.call_successfully(way, fields=GOOD | {"seed": 7, "style": {"style_type": "漫画"}}, paths=[str(face)])
    extra = {"seed": 7, "style": {"style_type": "漫画"}, "subject_reference": FACE_REFERENCE}
    assert [request.json for request in upstream.received] == [PLAIN | extra]


# What the caller gets


def test_urls_are_passed_on_byte_for_byte(sdk: Sdk, upstream: FakeMinimax) -> None:
    upstream.script = respond(success() | {"data": {"image_urls": AWKWARD_URLS}})
    outcome = sdk.call_successfully("generate", fields=GOOD | {"n": 2})
    assert outcome.images == [{"url": url} for url in AWKWARD_URLS]


def test_fields_without_effect_are_named_in_a_header(sdk: Sdk) -> None:
    assert (
        sdk.call_successfully("ignoredFields", fields=GOOD | {"quality": "hd", "user": "u"}).response == "quality, user"
    )


def test_request_ids_find_the_log_line(sdk: Sdk, gateway: Served, upstream: FakeMinimax) -> None:
    """The SDK shows the gateway's id, or the caller's own, for responses and errors."""
    outcome = sdk.call_successfully("generate", fields=GOOD)
    assert outcome.request_id is not None
    assert statuses(gateway, outcome.request_id) == {200: 1}

    own = new_request_id()
    upstream.script = respond(error_response(1026))
    outcome = sdk.call("generate", fields=GOOD, options={"headers": {"x-request-id": own}})
    assert outcome.request_id == own
    assert statuses(gateway, own) == {403: 1}


# Errors


@pytest.mark.parametrize("case", PROTOCOL_ERRORS, ids=str)
def test_upstream_failures_are_typed_errors_and_retried_only_where_free(
    sdk: Sdk, upstream: FakeMinimax, case: UpstreamFailure
) -> None:
    upstream.script = case.script
    outcome = sdk.call("generate", fields=GOOD)
    assert outcome.error == case.error
    assert case.message in outcome.message
    assert outcome.request_id
    assert len(upstream.received) == case.calls


def test_a_transient_rate_limit_is_retried_by_the_sdk(sdk: Sdk, upstream: FakeMinimax, face: Path) -> None:
    """The SDK sends the whole upload again."""
    upstream.script = in_turn(respond(error_response(1002), headers={"Retry-After": "1"}), respond(success()))
    outcome = sdk.call_successfully("editBuffer", fields=GOOD, paths=[str(face)])
    assert outcome.images == [{"url": success()["data"]["image_urls"][0]}]
    assert [request.json["subject_reference"] for request in upstream.received] == [
        FACE_REFERENCE,
        FACE_REFERENCE,
    ]


@pytest.mark.parametrize("case", INVALID_FIELDS, ids=INVALID_FIELDS_IDS)
def test_an_invalid_field_is_named_and_nothing_is_sent(
    sdk: Sdk, gateway: Served, upstream: FakeMinimax, case: InvalidField
) -> None:
    own = new_request_id()
    outcome = sdk.call("generate", fields=GOOD | case.fields, options={"headers": {"x-request-id": own}})
    assert outcome.error == case.error
    assert case.message in outcome.message
    assert statuses(gateway, own) == {case.error.status: 1}
    assert upstream.received == []


@pytest.mark.parametrize("case", ["generate", "editFields"])
def test_the_request_option_body_is_explained(sdk: Sdk, upstream: FakeMinimax, case: str) -> None:
    """It replaces the whole body, so model and prompt are missing; the error names the right place for the field."""
    outcome = sdk.call(
        case, fields=GOOD | {"n": 1, "size": "1024x1024"}, options={"body": {"subject_reference": FACE_REFERENCE}}
    )
    assert outcome.error == Error("BadRequestError", 400, "invalid_value", "model")
    assert "replaces the whole body" in outcome.message
    assert "first argument" in outcome.message
    assert upstream.received == []


@pytest.mark.parametrize("case", ["generate", "editBuffer", "editStream", "listModels"])
def test_a_wrong_key_is_an_authentication_error(gateway: Served, upstream: FakeMinimax, face: Path, case: str) -> None:
    outcome = Sdk(gateway, "a-wrong-key").call(case, fields=GOOD, paths=[str(face)])
    assert outcome.error == WRONG_KEY
    assert "API key" in outcome.message
    assert "a-wrong-key" not in outcome.message
    assert outcome.request_id
    assert upstream.received == []


@pytest.mark.parametrize("name", ["gpt-image-1", LIVE])
def test_an_unknown_model_is_404(sdk: Sdk, name: str) -> None:
    """A model that exists but is not enabled is unknown here."""
    assert sdk.call("retrieveModel", name=name).error == UNKNOWN_MODEL


@pytest.mark.parametrize("way", ["editStreams", "editBuffers"])
def test_two_files_are_rejected(sdk: Sdk, upstream: FakeMinimax, face: Path, way: str) -> None:
    outcome = sdk.call(way, fields=GOOD, paths=[str(face), str(face)])
    assert outcome.error == TWO_IMAGES
    assert "one reference image, not 2" in outcome.message
    assert upstream.received == []


def test_a_file_and_a_subject_reference_are_rejected(sdk: Sdk, upstream: FakeMinimax, face: Path) -> None:
    outcome = sdk.call("editBuffer", fields=GOOD | {"subject_reference": FACE_REFERENCE}, paths=[str(face)])
    assert outcome.error == TWO_IMAGES
    assert "not both" in outcome.message
    assert upstream.received == []


def test_a_mask_is_rejected(sdk: Sdk, upstream: FakeMinimax, face: Path) -> None:
    outcome = sdk.call("editMask", fields=GOOD, paths=[str(face)])
    assert outcome.error == Error("BadRequestError", 400, "invalid_value", "mask")
    assert upstream.received == []


# Large uploads


@pytest.mark.parametrize("way", ["editStream", "editBuffer"])
def test_an_image_of_12_mb_is_rejected_by_its_limit(sdk: Sdk, upstream: FakeMinimax, face: Path, way: str) -> None:
    face.write_bytes(large_jpeg(12 * MB))
    outcome = sdk.call(way, fields=GOOD, paths=[str(face)])
    assert outcome.error == TOO_LARGE_IMAGE
    assert "10 MB" in outcome.message
    assert upstream.received == []


def upload_stream(sdk: Sdk, face: Path, options: dict[str, Any]) -> Outcome:
    return sdk.call("editStream", fields=GOOD, paths=[str(face)], options=options)


def upload_buffer(sdk: Sdk, face: Path, options: dict[str, Any]) -> Outcome:
    return sdk.call("editBuffer", fields=GOOD, paths=[str(face)], options=options)


def upload_json(sdk: Sdk, face: Path, options: dict[str, Any]) -> Outcome:
    return sdk.call("generate", fields=GOOD | {"subject_reference": [{"image_file": "A" * 20 * MB}]}, options=options)


@pytest.mark.parametrize("upload", [upload_stream, upload_buffer, upload_json])
def test_a_body_of_20_mb_is_413_after_one_upload(
    sdk: Sdk,
    gateway: Served,
    upstream: FakeMinimax,
    face: Path,
    upload: Callable[[Sdk, Path, dict[str, Any]], Outcome],
) -> None:
    """There is no connection error, and the SDK does not upload three times."""
    face.write_bytes(large_jpeg(20 * MB))
    own = new_request_id()
    outcome = upload(sdk, face, {"headers": {"x-request-id": own}})
    assert outcome.error == Error("APIError", 413, "request_entity_too_large")
    [line] = logged(gateway, own)
    assert line["status"] == 413
    assert line["bytes_in"] > 20 * MB
    assert upstream.received == []
