"""Request schema: one line per field, then the rules that join fields (contract 1 to 1.4).

Errors are reported for the first invalid field in declaration order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, validates_schema
from marshmallow.fields import List, Nested
from marshmallow.validate import Length, OneOf, Range

from app.errors import InvalidRequest, ModelNotAuthorized
from app.model_catalog import ASPECT_RATIOS, DIMENSIONS, RESPONSE_FORMATS, Model, ResponseFormat, find_model
from app.schemas.aspect_ratio import is_size
from app.schemas.fields import (
    ImageFile,
    StrictBoolean,
    StrictInteger,
    StrictNumber,
    StrictString,
    Unsupported,
)
from app.schemas.image_request_builder import build_image_request, reference_of
from app.schemas.messages import first_error
from app.schemas.normalization import normalize
from app.services.image_request import ImageRequest
from app.settings import Settings

MAX_PROMPT_CHARS = 1500
MAX_IMAGES = 9
MAX_PARTIAL_IMAGES = 3
MIN_SEED, MAX_SEED = -(2**63), 2**63 - 1
STYLE_TYPES = ("漫画", "元气", "中世纪", "水彩")


@dataclass(frozen=True)
class Endpoint:
    """One image endpoint. Edits require a reference image, and a model that supports edits."""

    is_edits: bool

    def serves(self, model: Model) -> bool:
        return model.supports_edits or not self.is_edits


GENERATIONS = Endpoint(is_edits=False)
EDITS = Endpoint(is_edits=True)


def _one_of(choices: tuple[str, ...]) -> OneOf:
    return OneOf(choices, error="must be one of: {choices}")


def _between(low: int, high: int) -> Range:
    return Range(low, high, error="must be from {min} to {max}")


def _check_prompt(prompt: str) -> None:
    if not prompt.strip():
        raise ValidationError("must not be empty")
    if len(prompt) > MAX_PROMPT_CHARS:
        raise ValidationError(f"must have at most {MAX_PROMPT_CHARS} characters, not {len(prompt)}")


def _check_size(size: str) -> None:
    if not is_size(size):
        raise ValidationError("must be WIDTHxHEIGHT in pixels, like 1024x1024, or auto")


_NO_REFERENCE = "must be an object with type and image_file"


class ReferenceSchema(Schema):
    """One element of `subject_reference`."""

    error_messages: dict[str, str] = {"type": _NO_REFERENCE}

    type = StrictString(required=True, validate=OneOf(["character"], error="must be: character"))
    image_file = ImageFile(required=True)


class ImageRequestSchema(Schema):
    """JSON variant: fields in canonical spelling, of JSON's own types."""

    model = StrictString(required=True)
    prompt = StrictString(required=True, validate=_check_prompt)
    n = StrictInteger(load_default=1, validate=_between(1, MAX_IMAGES))
    size = StrictString(validate=_check_size)
    aspect_ratio = StrictString(validate=_one_of(ASPECT_RATIOS))
    response_format = StrictString(validate=OneOf(RESPONSE_FORMATS, error="must be one of: url, b64_json, base64"))
    seed = StrictInteger(validate=_between(MIN_SEED, MAX_SEED))
    prompt_optimizer = StrictBoolean()
    watermark = StrictBoolean()
    style_type = StrictString(validate=_one_of(STYLE_TYPES))
    style_weight = StrictNumber(validate=Range(0, 1, min_inclusive=False, error="must be above 0 and at most 1"))
    subject_reference = List(
        Nested(ReferenceSchema(unknown=EXCLUDE), error_messages={"null": _NO_REFERENCE}),
        validate=Length(max=1, error="must hold one reference: MiniMax takes no more"),
        error_messages={"invalid": "must be an array of objects with type and image_file"},
    )
    width = StrictInteger()
    height = StrictInteger()
    stream = StrictBoolean()
    partial_images = StrictInteger(validate=_between(0, MAX_PARTIAL_IMAGES))
    mask = Unsupported("is not supported: MiniMax redraws a character, it does not inpaint")
    image = ImageFile()

    def __init__(self, settings: Settings, endpoint: Endpoint) -> None:
        super().__init__(unknown=EXCLUDE)
        self._settings = settings
        self._endpoint = endpoint

    def read(self, body: Mapping[str, Any], default_response_format: ResponseFormat | None = None) -> ImageRequest:
        """Validate `body` and return the request that it describes.

        `default_response_format` is that of the caller's API key. Without one, that of the model's alias counts, then
        the operator's. Raises `InvalidRequest` naming the field, or `ModelNotAuthorized` for a model not served here.
        """
        canonical = normalize(body)
        _check_body_not_replaced(canonical)
        try:
            data: dict[str, Any] = self.load(canonical)
        except ValidationError as error:
            raise first_error(error, self.fields) from None
        return build_image_request(
            data,
            self._served_model(data),
            default_response_format=default_response_format or self._default_response_format(data["model"]),
            forward_dimensions=self._settings.forward_dimensions,
            unknown=self._unknown(canonical),
        )

    @validates_schema(skip_on_field_errors=True)
    def _check_combinations(self, data: dict[str, Any], **_: Any) -> None:
        model = self._find_model(data)
        if "aspect_ratio" in data and data["aspect_ratio"] not in model.aspect_ratios:
            raise ValidationError(f"must not be {data['aspect_ratio']} with {model.id}", "aspect_ratio")
        if "style_weight" in data and "style_type" not in data:
            raise ValidationError("is required with style_weight", "style_type")
        if self._endpoint.is_edits and not reference_of(data):
            raise ValidationError("is required: a JPEG or PNG file, or subject_reference", "image")

    @validates_schema(skip_on_field_errors=True)
    def _check_dimensions(self, data: dict[str, Any], **_: Any) -> None:
        given = [name for name in ("width", "height") if name in data]
        if not (given and self._settings.forward_dimensions):
            return
        for name in given:
            if data[name] not in DIMENSIONS:
                raise ValidationError("must be a multiple of 8 from 512 to 2048", name)
        if len(given) == 1:
            missing = "height" if given == ["width"] else "width"
            raise ValidationError(f"is required with {given[0]}", missing)
        model = self._find_model(data)
        if not model.supports_dimensions:
            raise ValidationError(f"is not supported by {model.id}", "width")
        if "aspect_ratio" in data:
            raise ValidationError("must not be given beside width and height", "aspect_ratio")

    def _find_model(self, data: Mapping[str, Any]) -> Model:
        model = find_model(data["model"], self._settings.model_aliases)
        if model is None:
            served = ", ".join(model.id for model in self._settings.enabled_models)
            raise ValidationError(f"is unknown; served here: {served}", "model")
        return model

    def _served_model(self, data: Mapping[str, Any]) -> Model:
        model = self._find_model(data)
        if model not in self._settings.enabled_models:
            raise ModelNotAuthorized(f"{model.id} is not enabled on this gateway.", param="model")
        if not self._endpoint.serves(model):
            raise ModelNotAuthorized(f"{model.id} is not served by this endpoint.", param="model")
        return model

    def _default_response_format(self, model_name: str) -> ResponseFormat:
        alias = self._settings.model_aliases.get(model_name.lower())
        return (alias.response_format if alias else None) or self._settings.default_response_format

    def _unknown(self, canonical: Mapping[str, Any]) -> set[str]:
        in_reference = set().union(*canonical.get("subject_reference", [])) - set(ReferenceSchema._declared_fields)
        return (set(canonical) - set(self.fields)) | {f"subject_reference.{name}" for name in in_reference}


def _check_body_not_replaced(body: Mapping[str, Any]) -> None:
    if body and "model" not in body and "prompt" not in body:
        raise InvalidRequest(
            "model and prompt are missing. In openai-node the request option `body` replaces the whole body: "
            "put the extra fields into the first argument instead, beside model and prompt.",
            param="model",
        )
