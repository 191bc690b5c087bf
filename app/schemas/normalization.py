"""Owns the spellings: the many ways of writing a field become one, before anything is validated.

Both endpoints come through here, so no field can work in JSON and be lost in a form.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.errors import InvalidRequest
from app.spooling.spooled_text import SpooledText

# OpenAI's word for "you choose", and what forms send for a field left empty.
_SIZE_NOT_GIVEN = ("auto", "")
ALIASES = {"aigc_watermark": "watermark"}
_STYLE_FIELDS = ("style_type", "style_weight")


def normalize(body: Mapping[str, Any]) -> dict[str, Any]:
    """The same request in canonical spelling: no nulls, no `extra_body`, flat style, references in one place.

    Normalising twice gives the same as once. Raises `InvalidRequest` where two spellings disagree.
    """
    fields = _without_null(body)
    extra = fields.pop("extra_body", {})
    if not isinstance(extra, dict):
        raise InvalidRequest("extra_body must be an object.", param="extra_body")
    extra = _without_null(extra)
    if "extra_body" in extra:  # one inside the other has no meaning: renamed, it is told as ignored
        extra["extra_body.extra_body"] = extra.pop("extra_body")
    has_style = any(isinstance(part.get("style"), dict) for part in (fields, extra))
    canonical = _canonical(extra) | _canonical(fields)  # a real top-level field wins
    if has_style and "style_type" not in canonical:
        raise InvalidRequest("style_type is required with style.", param="style_type")
    return canonical


def _canonical(fields: dict[str, Any]) -> dict[str, Any]:
    for alias, name in ALIASES.items():
        if alias in fields:
            _set(fields, name, fields.pop(alias), spelled=alias)
    _flatten_style(fields)
    _rename_images(fields)
    if fields.get("size") in _SIZE_NOT_GIVEN:
        del fields["size"]
    if fields.get("response_format") == "base64":
        fields["response_format"] = "b64_json"
    return fields


def _without_null(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in mapping.items() if value is not None}


def _set(fields: dict[str, Any], name: str, value: Any, *, spelled: str) -> None:
    if name in fields and not _same(fields[name], value):
        raise InvalidRequest(f"{spelled} and {name} mean the same and differ.", param=spelled)
    fields[name] = value


def _same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal; 1 and true, which Python takes for equal, are not."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _flatten_style(fields: dict[str, Any]) -> None:
    """`style: {style_type, style_weight}` becomes the flat fields; a plain string is DALL-E's and stays, unused."""
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


def _rename_images(fields: dict[str, Any]) -> None:
    """OpenAI's `images: [{image_url}]` becomes `subject_reference`."""
    if "images" not in fields:
        return
    images = fields.pop("images")
    if images == []:
        return
    if not (isinstance(images, list) and all(isinstance(image, dict) and image.get("image_url") for image in images)):
        raise InvalidRequest('images must be an array of {"image_url": …} objects.', param="images")
    if fields.get("subject_reference", []) != []:
        raise InvalidRequest("Give one reference: images or subject_reference, not both.", param="images")
    fields["subject_reference"] = [{"type": "character", "image_file": image["image_url"]} for image in images]
    for image in images:
        fields |= {f"images.{name}": value for name, value in _without_null(image).items() if name != "image_url"}
