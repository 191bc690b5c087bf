"""Field types: JSON's own types without coercion, and those that the contract defines.

marshmallow's `Integer` reads 1.5 as 1 and its `Boolean` reads "yes"; here a wrong type is an error.
Messages continue a sentence that begins with the field's name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from marshmallow import fields

from app.schemas.reference_image import InvalidReferenceImage, check_reference
from app.spooling.spooled_text import SpooledText

_Messages = dict[str, str | list[Any] | dict[Any, Any]]


class Strict(fields.Field[Any]):
    """Base class: a value for which `is_valid` is False is an error, and the message says what it must be."""

    default_error_messages: _Messages = {"required": "is required", "null": "is required"}

    def is_valid(self, value: Any) -> bool:
        raise NotImplementedError

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        if not self.is_valid(value):
            raise self.make_error("type")
        return value


class StrictString(Strict):
    """A string that can be written as UTF-8 (a lone surrogate, which JSON can spell, cannot)."""

    default_error_messages: _Messages = {"type": "must be a string of valid Unicode"}

    def is_valid(self, value: Any) -> bool:
        if not isinstance(value, str):
            return False
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            return False
        return True

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        # Too long for any of these fields; their own rules report it.
        value = str(value) if isinstance(value, SpooledText) else value
        return super()._deserialize(value, attr, data, **kwargs)


class StrictInteger(Strict):
    """A JSON integer; 1.0, "1" and true are not."""

    default_error_messages: _Messages = {"type": "must be an integer"}

    def is_valid(self, value: Any) -> bool:
        return type(value) is int


class StrictNumber(Strict):
    """A finite JSON number."""

    default_error_messages: _Messages = {"type": "must be a number"}

    def is_valid(self, value: Any) -> bool:
        return type(value) is int or (type(value) is float and math.isfinite(value))


class StrictBoolean(Strict):
    """JSON's true or false."""

    default_error_messages: _Messages = {"type": "must be true or false"}

    def is_valid(self, value: Any) -> bool:
        return isinstance(value, bool)


class Unsupported(Strict):
    """A field that must not be ignored silently; `message` says what to do instead."""

    def __init__(self, message: str) -> None:
        super().__init__(error_messages={"type": message})

    def is_valid(self, value: Any) -> bool:
        return False


class ImageFile(Strict):
    """An http(s) URL, a data URL of a JPEG or PNG, or an array of those, of which the first non-empty one is used."""

    default_error_messages: _Messages = {
        "type": "must be a non-empty string, or an array with one",
        "image": "{fault}",
    }

    def is_valid(self, value: Any) -> bool:
        return isinstance(value, str | SpooledText) and value != ""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        if isinstance(value, list):
            value = next((item for item in value if item not in (None, "")), None)
        try:
            return check_reference(super()._deserialize(value, attr, data, **kwargs))
        except InvalidReferenceImage as error:
            raise self.make_error("image", fault=str(error)) from None


# Fields that a form carries as the text of a JSON literal.
JSON_LITERAL_FIELDS = (StrictInteger, StrictNumber, StrictBoolean)
