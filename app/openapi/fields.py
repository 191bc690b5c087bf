"""JSON schema of marshmallow fields: what apispec does not know of the gateway's own field types and validators."""

from __future__ import annotations

from typing import Any

from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.openapi import OpenAPIConverter
from marshmallow.fields import Field
from marshmallow.validate import Range

from app.schemas.fields import ImageFile, StrictBoolean, StrictInteger, StrictNumber, StrictString, Unsupported

JsonSchema = dict[str, Any]

# `null` means that a field is absent, so it is all that a field that is not supported accepts.
TYPES = {
    StrictString: "string",
    StrictInteger: "integer",
    StrictNumber: "number",
    StrictBoolean: "boolean",
    Unsupported: "null",
}
IMAGE: JsonSchema = {"type": "string", "minLength": 1}


def configure(plugin: MarshmallowPlugin) -> OpenAPIConverter:
    """Teach the converter of an initialized `plugin` the gateway's fields, and return it."""
    converter = plugin.converter
    if converter is None:
        raise ValueError("the plugin belongs to no document yet")
    for field_class, name in TYPES.items():
        converter.map_to_openapi_type(field_class, name, None)
    converter.map_to_openapi_type(ImageFile, None, None)
    for function in (exclusive_minimum, image_file):
        converter.add_attribute_function(function)
    return converter


def exclusive_minimum(_converter: OpenAPIConverter, field: Field[Any], ret: JsonSchema) -> JsonSchema:
    """apispec takes every bound for an inclusive one."""
    is_exclusive = any(isinstance(rule, Range) and not rule.min_inclusive for rule in field.validators)
    return {"exclusiveMinimum": ret.pop("minimum")} if is_exclusive else {}


def image_file(_converter: OpenAPIConverter, field: Field[Any], ret: JsonSchema) -> JsonSchema:
    if not isinstance(field, ImageFile):
        return {}
    return {"anyOf": [IMAGE, {"type": "array", "items": {"type": ["string", "null"]}, "minItems": 1}]}


def nullable(schema: JsonSchema) -> JsonSchema:
    """`schema`, or null."""
    if "anyOf" in schema:
        return schema | {"anyOf": [*schema["anyOf"], {"type": "null"}]}
    if "$ref" in schema:
        return {"anyOf": [schema, {"type": "null"}]}
    if schema["type"] == "null":
        return schema
    choices = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
    return schema | choices | {"type": [schema["type"], "null"]}
