"""Form variant of the request schema: numbers and booleans are the text of a JSON literal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from app.model_catalog import ResponseFormat
from app.schemas.fields import JSON_LITERAL_FIELDS
from app.schemas.image_request_schema import ImageRequestSchema
from app.schemas.normalization import ALIASES
from app.services.image_request import ImageRequest

MAX_LITERAL_CHARS = 40


class FormImageRequestSchema(ImageRequestSchema):
    """Form variant: the same fields and rules.

    Literals are decoded before normalization, so that `null` (openai-node's advice to its users) is absent.
    """

    def read(self, body: Mapping[str, Any], default_response_format: ResponseFormat | None = None) -> ImageRequest:
        return super().read(self._decode_fields(body, ("extra_body", "style")), default_response_format)

    def _decode_fields(self, fields: Mapping[str, Any], objects: tuple[str, ...]) -> dict[str, Any]:
        """Decode literals in `fields` and in its members named in `objects`, the outer object first."""
        return {name: self._decode_field(name, value, objects) for name, value in fields.items()}

    def _decode_field(self, name: str, value: Any, objects: tuple[str, ...]) -> Any:
        if name in objects and isinstance(value, dict):
            return self._decode_fields(value, objects[objects.index(name) + 1 :])
        is_literal = isinstance(value, str) and isinstance(
            self.fields.get(ALIASES.get(name, name)), JSON_LITERAL_FIELDS
        )
        return _decode_literal(value) if is_literal else value


def _decode_literal(text: str) -> Any:
    """The JSON value of `text`, or `text` itself, which no typed field accepts. Python's True and False count too."""
    if text.strip() != text or len(text) > MAX_LITERAL_CHARS:
        return text
    try:
        return json.loads(text.lower() if text in ("True", "False") else text)
    except ValueError:
        return text
