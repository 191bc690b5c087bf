"""Defaults that depend on the caller, and rules that depend on the model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.errors import InvalidRequest, ModelNotAuthorized
from app.model_catalog import IMAGE_01, Model, ModelAlias, ResponseFormat
from app.schemas.form_request_schema import FormImageRequestSchema
from app.schemas.image_request_schema import EDITS, GENERATIONS, Endpoint, ImageRequestSchema
from app.settings import Settings

BODY: dict[str, Any] = {"model": "image-01", "prompt": "p", "image": "https://example.com/face.jpg"}
ALIASES = {"as-base64": ModelAlias(IMAGE_01, "b64_json"), "as-url": ModelAlias(IMAGE_01, "url")}
SCHEMAS = (ImageRequestSchema, FormImageRequestSchema)


def settings(**chosen: Any) -> Settings:
    return Settings(api_keys=("a",), minimax_api_key="b", model_aliases=ALIASES, **chosen)


@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.parametrize("endpoint", [GENERATIONS, EDITS])
@pytest.mark.parametrize(
    ("asked", "key", "model", "operator", "expected"),
    [
        ("url", "b64_json", "as-base64", "b64_json", "url"),
        ("base64", "url", "as-url", "url", "b64_json"),
        (None, "url", "as-base64", "b64_json", "url"),
        (None, "b64_json", "as-url", "url", "b64_json"),
        (None, "b64_json", "image-01", "url", "b64_json"),
        (None, None, "as-base64", "url", "b64_json"),
        (None, None, "As-URL", "b64_json", "url"),
        (None, None, "image-01", "b64_json", "b64_json"),
        (None, None, "image-01", "url", "url"),
    ],
)
def test_the_default_response_format_is_of_the_key_then_the_alias_then_the_operator(
    schema: type[ImageRequestSchema],
    endpoint: Endpoint,
    asked: str | None,
    key: ResponseFormat | None,
    model: str,
    operator: ResponseFormat,
    expected: ResponseFormat,
) -> None:
    reader = schema(settings(default_response_format=operator), endpoint)
    request = reader.read(BODY | {"model": model, "response_format": asked}, key)
    assert request.response_format == expected


def read(model: Model, endpoint: Endpoint, **fields: Any) -> Any:
    """The request for `model`, as if the catalog listed it under the name `new`."""
    chosen = replace(
        settings(enabled_models=(model,), forward_dimensions=True), model_aliases={"new": ModelAlias(model)}
    )
    return ImageRequestSchema(chosen, endpoint).read(BODY | {"model": "new"} | fields)


def test_the_schema_asks_the_model_what_it_supports() -> None:
    """Each capability is checked alone, so that a new model needs a row in the catalog only."""
    squares = replace(IMAGE_01, id="New", aspect_ratios=("1:1",))
    assert read(squares, EDITS, width=512, height=512).width == 512
    assert read(squares, GENERATIONS, size="1792x1024").aspect_ratio is None
    with pytest.raises(InvalidRequest, match="aspect_ratio must not be 16:9 with New"):
        read(squares, GENERATIONS, aspect_ratio="16:9")

    without_edits = replace(IMAGE_01, id="New", supports_edits=False)
    assert read(without_edits, GENERATIONS, aspect_ratio="21:9").aspect_ratio == "21:9"
    with pytest.raises(ModelNotAuthorized, match="New is not served by this endpoint"):
        read(without_edits, EDITS)

    without_dimensions = replace(IMAGE_01, id="New", supports_dimensions=False)
    assert read(without_dimensions, EDITS, aspect_ratio="21:9").aspect_ratio == "21:9"
    with pytest.raises(InvalidRequest, match="width is not supported by New"):
        read(without_dimensions, GENERATIONS, width=512, height=512)


@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.parametrize("endpoint", [GENERATIONS, EDITS])
@pytest.mark.parametrize(
    ("sent", "response_format", "ignored"),
    [
        ({"stream": True}, "b64_json", ()),
        ({"stream": True, "response_format": "url"}, "b64_json", ("response_format",)),
        ({"stream": True, "response_format": "base64"}, "b64_json", ("response_format",)),
        ({"stream": True, "partial_images": 3}, "b64_json", ("partial_images",)),
        ({"stream": False, "response_format": "url", "partial_images": 3}, "url", ("partial_images",)),
        ({"extra_body": {"stream": True}, "response_format": None}, "b64_json", ()),
        ({"stream": None}, "url", ()),
    ],
    ids=str,
)
def test_a_stream_is_always_base64(
    schema: type[ImageRequestSchema],
    endpoint: Endpoint,
    sent: dict[str, Any],
    response_format: ResponseFormat,
    ignored: tuple[str, ...],
) -> None:
    read = schema(settings(), endpoint).read(BODY | sent, "url")
    assert (read.response_format, read.ignored) == (response_format, ignored)
    assert read.stream is (response_format == "b64_json")
