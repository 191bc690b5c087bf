"""JSON schemas of an image request, in JSON and as a form: the fields of `ImageRequestSchema`, and other spellings."""

from __future__ import annotations

from apispec.ext.marshmallow.openapi import OpenAPIConverter

from app.model_catalog import DIMENSIONS
from app.openapi.examples import PROMPT
from app.openapi.field_texts import TEXTS
from app.openapi.fields import IMAGE, JsonSchema, nullable
from app.openapi.rules import rule_of
from app.schemas.aspect_ratio import SIZE_PATTERN
from app.schemas.image_request_schema import GENERATIONS, MAX_PROMPT_CHARS, ImageRequestSchema
from app.schemas.normalization import ALIASES, SAME_RESPONSE_FORMATS, SIZE_NOT_GIVEN
from app.settings import Settings

# A character that Python's `str.strip` keeps. Regular expressions of JSON schema leave some of its white space out.
_NOT_BLANK = r"[^\s\u001c-\u001f\u0085]"
_IN_OBJECT = {
    "type": "object",
    "properties": {"url": IMAGE, "image_url": IMAGE},
    "minProperties": 1,
}


def image_request(converter: OpenAPIConverter, settings: Settings) -> JsonSchema:
    """The body in JSON. Every optional field may be null."""
    schema = _schema(converter, settings)
    required = schema["required"]
    described = _described(schema["properties"])
    properties = {name: value if name in required else nullable(value) for name, value in described.items()}
    return schema | {"properties": properties}


def image_form(converter: OpenAPIConverter, settings: Settings) -> JsonSchema:
    """The multipart form of edits, whose `image` is a file."""
    schema = _schema(converter, settings)
    image = {"type": "string", "format": "binary"}
    return schema | {"properties": _described(schema["properties"] | {"image": image})}


def _schema(converter: OpenAPIConverter, settings: Settings) -> JsonSchema:
    schema: JsonSchema = converter.schema2jsonschema(ImageRequestSchema(settings, GENERATIONS))
    properties = schema["properties"]
    for name, rule in _rules(settings).items():
        properties[name] |= rule
    properties |= _spellings(properties)
    return schema | {"additionalProperties": True}


def _rules(settings: Settings) -> dict[str, JsonSchema]:
    """Rules that the request schema has as functions, or that depend on a setting."""
    not_given = "|".join(SIZE_NOT_GIVEN)
    side = {"minimum": DIMENSIONS[0], "maximum": DIMENSIONS[-1], "multipleOf": DIMENSIONS.step}
    return {
        "model": {"examples": [model.id for model in settings.enabled_models]},
        "prompt": {"minLength": 1, "maxLength": MAX_PROMPT_CHARS, "pattern": _NOT_BLANK, "examples": [PROMPT]},
        # Without the lookahead, Python's `$` also matches before a newline at the end.
        "size": {"pattern": rf"^({SIZE_PATTERN}|{not_given})$(?!\n)"},
        **dict.fromkeys(("width", "height"), side if settings.forward_dimensions else {}),
    }


def _spellings(properties: dict[str, JsonSchema]) -> dict[str, JsonSchema]:
    """What `app.schemas.normalization` resolves into the fields in `properties`."""
    style = {name: nullable(properties[name]) for name in ("style_type", "style_weight")}
    response_format = properties["response_format"]
    return {
        "response_format": response_format | {"enum": [*response_format["enum"], *SAME_RESPONSE_FORMATS]},
        **{alias: properties[name] for alias, name in ALIASES.items()},
        "style": {
            "anyOf": [
                {"type": "object", "properties": style},
                {"type": "string"},
            ]
        },
        "image": {
            "anyOf": [
                IMAGE,
                _IN_OBJECT,
                {"type": "array", "items": {"anyOf": [IMAGE, _IN_OBJECT]}, "minItems": 1, "maxItems": 1},
            ]
        },
        "images": {
            "type": "array",
            "items": {"type": "object", "properties": {"image_url": IMAGE}, "required": ["image_url"]},
            "maxItems": 1,
        },
        "extra_body": {"type": "object", "additionalProperties": True},
    }


def _described(properties: dict[str, JsonSchema]) -> dict[str, JsonSchema]:
    return {
        name: value | {"description": f"{TEXTS[name]} {rule_of(value)}".strip()} for name, value in properties.items()
    }
