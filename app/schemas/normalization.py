"""Normalizes aliases, `extra_body`, nested `style` and the spellings of the reference image into canonical fields.

Runs before validation, for JSON and forms alike, so that no field works in one and is lost in the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.errors import InvalidRequest
from app.schemas.references import check_one_reference, normalize_image, rename_images
from app.spooling.spooled_text import SpooledText

# OpenAI's "auto", and what forms send for a field left empty.
SIZE_NOT_GIVEN = ("auto", "")
ALIASES = {"aigc_watermark": "watermark"}
# Other names of response formats.
SAME_RESPONSE_FORMATS = {"base64": "b64_json"}
_STYLE_FIELDS = ("style_type", "style_weight")


def normalize(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request in canonical spelling: no nulls, no `extra_body`, flat style, one reference at most.

    Idempotent. Raises `InvalidRequest` if two spellings disagree, or if there is more than one reference.
    """
    fields = _without_null(body)
    extra = fields.pop("extra_body", {})
    if not isinstance(extra, dict):
        raise InvalidRequest("extra_body must be an object.", param="extra_body")
    extra = _without_null(extra)
    if "extra_body" in extra:  # nested, it has no meaning: renamed, it is listed as ignored
        extra["extra_body.extra_body"] = extra.pop("extra_body")
    has_style = any(isinstance(part.get("style"), dict) for part in (fields, extra))
    extra, fields = _canonical(extra), _canonical(fields)
    check_one_reference(fields, extra)
    canonical = extra | fields  # a top-level field overrides extra_body's
    rename_images(canonical)
    if has_style and "style_type" not in canonical:
        raise InvalidRequest("style_type is required with style.", param="style_type")
    return canonical


def _canonical(fields: dict[str, Any]) -> dict[str, Any]:
    for alias, name in ALIASES.items():
        if alias in fields:
            _set(fields, name, fields.pop(alias), spelled=alias)
    _flatten_style(fields)
    normalize_image(fields)
    if fields.get("images") == []:
        del fields["images"]
    if fields.get("size") in SIZE_NOT_GIVEN:
        del fields["size"]
    response_format = fields.get("response_format")
    if isinstance(response_format, str) and response_format in SAME_RESPONSE_FORMATS:
        fields["response_format"] = SAME_RESPONSE_FORMATS[response_format]
    return fields


def _without_null(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in mapping.items() if value is not None}


def _set(fields: dict[str, Any], name: str, value: Any, *, spelled: str) -> None:
    if name in fields and not _same(fields[name], value):
        raise InvalidRequest(f"{spelled} and {name} mean the same and differ.", param=spelled)
    fields[name] = value


def _same(one: Any, other: Any) -> bool:
    """Return whether two JSON values are equal; 1 and true, which Python takes for equal, are not."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _flatten_style(fields: dict[str, Any]) -> None:
    """Replace `style: {style_type, style_weight}` by the flat fields. A plain string is DALL-E's and stays, ignored."""
    style = fields.get("style")
    if style is None or isinstance(style, str | SpooledText):
        return
    if not isinstance(style, dict):
        raise InvalidRequest("style must be an object.", param="style")
    del fields["style"]
    for name, value in _without_null(style).items():
        if name in _STYLE_FIELDS:
            _set(fields, name, value, spelled=f"style.{name}")
        else:
            fields[f"style.{name}"] = value
