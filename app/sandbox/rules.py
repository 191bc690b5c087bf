"""Request schema that follows MiniMax's documentation. Everything else is an error, code 2013.

Facts about models come from the catalog; all other rules are written again, as a check on the gateway.
"""

from __future__ import annotations

import base64
import binascii
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

from marshmallow import RAISE, Schema, ValidationError, fields, validate, validates_schema
from PIL import Image

from app.model_catalog import ASPECT_RATIOS, DEFAULT_ASPECT_RATIO, DIMENSIONS, MODELS, PIXELS

_SIDE = validate.OneOf(DIMENSIONS, error="not a multiple of 8 from 512 to 2048")
_MODELS = {model.upstream_id: model for model in MODELS}


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValidationError(message)


class _JsonInteger(fields.Integer):
    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        _require(type(value) is int, "not an integer")
        return value


class _JsonBoolean(fields.Boolean):
    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        _require(isinstance(value, bool), "not a boolean")
        return value


class _JsonNumber(fields.Float):
    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        _require(type(value) in (int, float), "not a number")
        return super()._deserialize(value, *args, **kwargs)


def _check_text(value: str) -> None:
    _require(not any("\ud800" <= character <= "\udfff" for character in value), "not valid Unicode")


def _check_image_file(value: str) -> None:
    if not value.startswith("data:"):
        parts = urlsplit(value)
        _require(parts.scheme in ("http", "https") and bool(parts.hostname), "image_file is not a URL")
        return
    image = decode_data_url(value)
    _require(len(image) < 10 * 1024 * 1024, "image_file is not under 10MB")


def decode_data_url(value: str) -> bytes:
    """Return the bytes of a JPEG or PNG data URL. Raises `ValidationError` if they are not of the declared type."""
    head, _, encoded = value.partition(";base64,")
    _require(head in ("data:image/jpeg", "data:image/png"), "image_file is of an unsupported type")
    try:
        image = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        raise ValidationError("image_file is not base64") from None
    magic = b"\xff\xd8\xff" if head == "data:image/jpeg" else b"\x89PNG\r\n\x1a\n"
    _require(image.startswith(magic), "image_file is not of its declared type")
    return image


class StyleSchema(Schema):
    style_type = fields.String(required=True, validate=validate.OneOf(["漫画", "元气", "中世纪", "水彩"]))
    style_weight = _JsonNumber(validate=validate.Range(0, 1, min_inclusive=False))


class ReferenceSchema(Schema):
    type = fields.String(required=True, validate=validate.Equal("character"))
    image_file = fields.String(required=True, validate=_check_image_file)


class RequestSchema(Schema):
    """Body of `POST /v1/image_generation`. An unknown field is an error."""

    class Meta:
        unknown = RAISE

    model = fields.String(required=True, validate=validate.OneOf(_MODELS))
    prompt = fields.String(required=True, validate=[validate.Length(1, 1500), _check_text])
    n = _JsonInteger(load_default=1, validate=validate.Range(1, 9))
    aspect_ratio = fields.String(validate=validate.OneOf(ASPECT_RATIOS))
    response_format = fields.String(load_default="url", validate=validate.OneOf(["url", "base64"]))
    seed = _JsonInteger(validate=validate.Range(-(2**63), 2**63 - 1))
    prompt_optimizer = _JsonBoolean()
    aigc_watermark = _JsonBoolean()
    style = fields.Nested(StyleSchema)
    subject_reference = fields.List(fields.Nested(ReferenceSchema), validate=validate.Length(equal=1))
    width = _JsonInteger(validate=_SIDE)
    height = _JsonInteger(validate=_SIDE)

    @validates_schema(skip_on_field_errors=True)
    def _check_combinations(self, data: dict[str, Any], **_: Any) -> None:
        model = _MODELS[data["model"]]
        ratio = data.get("aspect_ratio", model.aspect_ratios[0])
        _require(("width" in data) == ("height" in data), "width and height come together")
        _require(model.supports_dimensions or "width" not in data, "the model does not support width and height")
        _require(ratio in model.aspect_ratios, f"the model does not support {ratio}")


def pixels_of(request: dict[str, Any]) -> tuple[int, int]:
    """Return width and height of the image. The aspect ratio overrides width and height, as MiniMax documents."""
    if "aspect_ratio" not in request and "width" in request:
        return request["width"], request["height"]
    return PIXELS[request.get("aspect_ratio", DEFAULT_ASPECT_RATIO)]


def open_reference(request: dict[str, Any]) -> Image.Image | None:
    """Return the reference image of a data URL, None for a URL, which is not fetched. Raises `ValidationError`."""
    for reference in request.get("subject_reference", ()):
        if reference["image_file"].startswith("data:"):
            try:
                image = Image.open(BytesIO(decode_data_url(reference["image_file"])))
                image.load()
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
                return None  # only the first bytes are an image's; MiniMax's response to it is not documented
            return image
    return None
