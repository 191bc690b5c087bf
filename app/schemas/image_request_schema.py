"""Owns the rules of every field of a request, one line a field (contract sections 1 to 1.4).

The order of the fields is the order in which faults are told: the first one wins.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from marshmallow import EXCLUDE, Schema, ValidationError, post_load, validates_schema
from marshmallow.fields import List, Nested
from marshmallow.validate import Length, OneOf, Range

from app.errors import InvalidRequest, ModelNotAuthorized
from app.model_catalog import IMAGE_01, IMAGE_01_LIVE, MODELS, RESPONSE_FORMATS, Model, find_model
from app.schemas.aspect_ratio import ASPECT_RATIOS, LIVE_UNSUPPORTED_RATIO, is_size, ratio_of_size
from app.schemas.fields import (
    JSON_LITERAL_FIELDS,
    ImageFile,
    StrictBoolean,
    StrictInteger,
    StrictNumber,
    StrictString,
    Unsupported,
)
from app.schemas.normalization import ALIASES, normalize
from app.services.image_request import ImageRequest, Style
from app.settings import Settings

MAX_PROMPT_CHARS = 1500
MAX_IMAGES = 9
MIN_SEED, MAX_SEED = -(2**63), 2**63 - 1
STYLE_TYPES = ("漫画", "元气", "中世纪", "水彩")
DIMENSIONS = range(512, 2048 + 1, 8)  # pixels

_MAX_IGNORED_NAMES = 32
_MAX_IGNORED_CHARS = 64


@dataclass(frozen=True)
class Endpoint:
    """In what the two endpoints differ: whether a reference image is needed, and which models may serve."""

    needs_reference: bool
    models: tuple[Model, ...]


GENERATIONS = Endpoint(needs_reference=False, models=MODELS)
EDITS = Endpoint(needs_reference=True, models=(IMAGE_01,))


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


def _check_stream(stream: bool) -> None:
    if stream:
        raise ValidationError("is not supported: pictures come in one JSON answer")


_NO_REFERENCE = "must be an object with type and image_file"


class ReferenceSchema(Schema):
    """One element of `subject_reference`."""

    error_messages: dict[str, str] = {"type": _NO_REFERENCE}

    type = StrictString(required=True, validate=OneOf(["character"], error="must be: character"))
    image_file = ImageFile(required=True)


class ImageRequestSchema(Schema):
    """The JSON face: fields in canonical spelling, of JSON's own types; ends in an `ImageRequest`."""

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
    stream = StrictBoolean(validate=_check_stream)
    mask = Unsupported("is not supported: MiniMax redraws a character, it does not inpaint")
    image = Unsupported("is a file of a multipart form; in JSON, give the reference as subject_reference")

    def __init__(self, settings: Settings, endpoint: Endpoint) -> None:
        super().__init__(unknown=EXCLUDE)
        self._settings = settings
        self._endpoint = endpoint

    def read(self, body: Mapping[str, Any]) -> ImageRequest:
        """Raises `InvalidRequest` naming the field, or `ModelNotAuthorized` for a model not served here."""
        canonical = normalize(body)
        _refuse_replaced_body(canonical)
        try:
            image_request: ImageRequest = self.load(canonical)
        except ValidationError as error:
            raise self._first_fault(error) from None
        return image_request

    def _first_fault(self, error: ValidationError) -> InvalidRequest:
        messages: dict[str, Any] = error.normalized_messages()  # type: ignore[no-untyped-call]
        name = min(messages, key=list(self.fields).index)
        param, fault = _flatten(name, messages[name])
        return InvalidRequest(f"{param} {fault}.", param=param)

    @validates_schema(skip_on_field_errors=True)
    def _check_model(self, data: dict[str, Any], **_: Any) -> None:
        if self._find_model(data) is None:
            served = ", ".join(model.id for model in self._settings.enabled_models)
            raise ValidationError(f"is unknown; served here: {served}", "model")

    @validates_schema(skip_on_field_errors=True)
    def _check_combinations(self, data: dict[str, Any], **_: Any) -> None:
        model = self._find_model(data)
        if data.get("aspect_ratio") == LIVE_UNSUPPORTED_RATIO and model is IMAGE_01_LIVE:
            raise ValidationError(f"must not be {LIVE_UNSUPPORTED_RATIO} with {IMAGE_01_LIVE.id}", "aspect_ratio")
        if "style_weight" in data and "style_type" not in data:
            raise ValidationError("is required with style_weight", "style_type")
        if self._endpoint.needs_reference and not data.get("subject_reference"):
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
        if self._find_model(data) is IMAGE_01_LIVE:
            raise ValidationError(f"is not supported by {IMAGE_01_LIVE.id}", "width")
        if "aspect_ratio" in data:
            raise ValidationError("must not be given beside width and height", "aspect_ratio")

    def _find_model(self, data: Mapping[str, Any]) -> Model | None:
        return find_model(data["model"], self._settings.model_aliases)

    @post_load(pass_original=True)
    def _build(self, data: dict[str, Any], original: Mapping[str, Any], **_: Any) -> ImageRequest:
        model = self._find_model(data)
        assert model is not None  # noqa: S101 (checked by _check_model)
        self._check_served(model)
        dimensions = self._settings.forward_dimensions and "width" in data
        ratio_from_size = ratio_of_size(data["size"]) if "size" in data else None
        aspect_ratio = None if dimensions else data.get("aspect_ratio", ratio_from_size)
        if aspect_ratio == LIVE_UNSUPPORTED_RATIO and model is IMAGE_01_LIVE:
            aspect_ratio = None
        references = data.get("subject_reference")
        without_effect = {
            "size": "size" in data and (dimensions or "aspect_ratio" in data or aspect_ratio is None),
            "width": "width" in data and not dimensions,
            "height": "height" in data and not dimensions,
        }
        return ImageRequest(
            model=model,
            prompt=data["prompt"],
            n=data["n"],
            response_format=data.get("response_format", self._settings.default_response_format),
            aspect_ratio=aspect_ratio,
            seed=data.get("seed"),
            prompt_optimizer=data.get("prompt_optimizer"),
            watermark=data.get("watermark"),
            style=Style(data["style_type"], data.get("style_weight")) if "style_type" in data else None,
            subject_reference=references[0]["image_file"] if references else None,
            width=data["width"] if dimensions else None,
            height=data["height"] if dimensions else None,
            ignored=_header_safe(self._unknown(original) | {name for name, unused in without_effect.items() if unused}),
        )

    def _check_served(self, model: Model) -> None:
        if model not in self._settings.enabled_models:
            raise ModelNotAuthorized(f"{model.id} is not enabled on this gateway.", param="model")
        if model not in self._endpoint.models:
            raise ModelNotAuthorized(f"{model.id} is not served by this endpoint.", param="model")

    def _unknown(self, original: Mapping[str, Any]) -> set[str]:
        in_reference = set().union(*original.get("subject_reference", [])) - set(ReferenceSchema._declared_fields)
        return (set(original) - set(self.fields)) | {f"subject_reference.{name}" for name in in_reference}


class FormImageRequestSchema(ImageRequestSchema):
    """The form face: the same fields, where numbers and booleans arrive as the text of a JSON literal.

    They are read before anything is normalised, so that `null` (openai-node's advice to its users) is absent.
    """

    def read(self, body: Mapping[str, Any]) -> ImageRequest:
        return super().read(self._read_texts(body, ("extra_body", "style")))

    def _read_texts(self, fields: Mapping[str, Any], objects: tuple[str, ...]) -> dict[str, Any]:
        """`objects` are the members that hold fields themselves, the outer one first."""
        return {name: self._read_text(name, value, objects) for name, value in fields.items()}

    def _read_text(self, name: str, value: Any, objects: tuple[str, ...]) -> Any:
        if name in objects and isinstance(value, dict):
            return self._read_texts(value, objects[objects.index(name) + 1 :])
        is_literal = isinstance(value, str) and isinstance(
            self.fields.get(ALIASES.get(name, name)), JSON_LITERAL_FIELDS
        )
        return _literal(value) if is_literal else value


def _literal(text: str) -> Any:
    """What the text means in JSON, or the text itself, which no typed field accepts."""
    if text.strip() != text or len(text) > 40:
        return text
    try:
        return json.loads(text.lower() if text in ("True", "False") else text)
    except ValueError:
        return text


def _refuse_replaced_body(body: Mapping[str, Any]) -> None:
    if body and "model" not in body and "prompt" not in body:
        raise InvalidRequest(
            "model and prompt are missing. In openai-node the request option `body` replaces the whole body: "
            "put the extra fields into the first argument instead, beside model and prompt.",
            param="model",
        )


def _flatten(path: str, messages: Any) -> tuple[str, str]:
    """The first leaf of marshmallow's nested messages: `subject_reference[0].type` and what is wrong with it."""
    while isinstance(messages, dict):
        key, messages = next(iter(messages.items()))
        if isinstance(key, int):
            path += f"[{key}]"
        elif key != "_schema":
            path += f".{key}"
    return path, messages[0]


def _header_safe(names: set[str]) -> tuple[str, ...]:
    """Names as they can stand in a header: sorted, percent-encoded, cut short, and not too many."""
    first = sorted(names)[:_MAX_IGNORED_NAMES]
    return tuple(
        quote(name[:_MAX_IGNORED_CHARS], safe="[]._-", errors="replace")[:_MAX_IGNORED_CHARS] for name in first
    )
