"""Owns what MiniMax's documentation allows in a request; anything else is refused with code 2013 or 1026."""

from __future__ import annotations

import base64
import binascii
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

from marshmallow import RAISE, Schema, ValidationError, fields, validate, validates_schema
from PIL import Image

# Aspect ratio to the pixels that MiniMax draws.
PIXELS = {
    "1:1": (1024, 1024),
    "16:9": (1280, 720),
    "4:3": (1152, 864),
    "3:2": (1248, 832),
    "2:3": (832, 1248),
    "3:4": (864, 1152),
    "9:16": (720, 1280),
    "21:9": (1344, 576),
}
_SIDE = validate.And(validate.Range(512, 2048), lambda side: _require(side % 8 == 0, "not a multiple of 8"))


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
    """The bytes of a JPEG or PNG data URL whose declared type is the true one. Raises `ValidationError`."""
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
    """The body of `POST /v1/image_generation`; an unknown field is an error."""

    class Meta:
        unknown = RAISE

    model = fields.String(required=True, validate=validate.OneOf(["image-01", "image-01-live"]))
    prompt = fields.String(required=True, validate=[validate.Length(1, 1500), _check_text])
    n = _JsonInteger(load_default=1, validate=validate.Range(1, 9))
    aspect_ratio = fields.String(validate=validate.OneOf(list(PIXELS)))
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
        live = data["model"] == "image-01-live"
        _require(("width" in data) == ("height" in data), "width and height come together")
        _require(not (live and "width" in data), "width and height are for image-01 only")
        _require(not (live and data.get("aspect_ratio") == "21:9"), "21:9 is for image-01 only")


def pixels_of(request: dict[str, Any]) -> tuple[int, int]:
    """Width and height of the picture: the aspect ratio beats width and height, as MiniMax documents."""
    if "aspect_ratio" not in request and "width" in request:
        return request["width"], request["height"]
    return PIXELS[request.get("aspect_ratio", "1:1")]


def open_reference(request: dict[str, Any]) -> Image.Image | None:
    """The reference picture where it came as data; one behind a URL is not fetched. Raises `ValidationError`."""
    for reference in request.get("subject_reference", ()):
        if reference["image_file"].startswith("data:"):
            try:
                picture = Image.open(BytesIO(decode_data_url(reference["image_file"])))
                picture.load()
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
                return None  # only its first bytes are an image's; MiniMax's own answer to this is not documented
            return picture
    return None
