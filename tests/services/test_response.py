"""The response body in OpenAI's shape."""

from __future__ import annotations

import pytest

from app.model_catalog import IMAGE_01, ResponseFormat
from app.services.image_request import ImageRequest, ImageResult
from app.services.response import to_openai


def request_for(response_format: ResponseFormat) -> ImageRequest:
    return ImageRequest(model=IMAGE_01, prompt="an otter", n=2, response_format=response_format)


def result_of(*images: str, **metadata: object) -> ImageResult:
    return ImageResult(images=images, metadata=metadata or None, trace_id="t", upstream_ms=7)


@pytest.mark.parametrize("response_format", ["url", "b64_json"])
def test_each_item_has_one_key_and_metadata_is_unchanged(response_format: ResponseFormat) -> None:
    result = result_of("first", "second", success_count="2", failed_count="0")
    assert to_openai(result, request_for(response_format), created=1_735_689_600) == {
        "created": 1_735_689_600,
        "data": [{response_format: "first"}, {response_format: "second"}],
        "metadata": {"success_count": "2", "failed_count": "0"},
    }


def test_missing_metadata_is_absent() -> None:
    assert to_openai(result_of("first"), request_for("url"), created=1) == {"created": 1, "data": [{"url": "first"}]}


def test_empty_metadata_is_kept() -> None:
    result = ImageResult(images=("first",), metadata={}, trace_id=None, upstream_ms=7)
    assert to_openai(result, request_for("url"), created=1)["metadata"] == {}
