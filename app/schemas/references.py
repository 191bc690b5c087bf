"""Spellings of the reference image: `image`, OpenAI's `images`, and MiniMax's `subject_reference` (contract 1.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.errors import InvalidRequest
from app.spooling.spooled_text import Base64Text, SpooledText

# In the order in which an error names them.
_SPELLINGS = ("image", "images", "subject_reference")
_IMAGE_KEYS = ("url", "image_url")
_IMAGE_SHAPE = 'image must be a URL, a data URL, an object {"url"} or {"image_url"}, or an array of one of these.'


def normalize_image(fields: dict[str, Any]) -> None:
    """Replace an object or array in `image` by the URL or data URL in it. Raises `InvalidRequest`.

    Other members of the object become fields of their own, `image.detail`, which are listed as ignored.
    """
    if "image" not in fields:
        return
    image = fields["image"]
    if isinstance(image, list):
        if len(image) > 1:
            raise too_many_references(len(image))
        image = image[0] if image else None
    if isinstance(image, dict):
        given = {name: value for name, value in image.items() if value is not None}
        urls = [given.pop(name) for name in _IMAGE_KEYS if name in given]
        if len(urls) > 1:
            raise too_many_references(len(urls))
        fields |= {f"image.{name}": value for name, value in given.items()}
        image = urls[0] if urls else None
    if not isinstance(image, str | SpooledText) or image == "":
        raise InvalidRequest(_IMAGE_SHAPE, param="image")
    fields["image"] = image


def check_one_reference(fields: Mapping[str, Any], extra: Mapping[str, Any]) -> None:
    """Raise `InvalidRequest` if more than one reference is given in `fields` and `extra`, the members of `extra_body`.

    An empty array is none. A field overrides the same one in `extra`, but a file is not the same as `image` in `extra`.
    """
    merged = {**extra, **fields}
    given = {name: name for name in _SPELLINGS if merged.get(name) not in (None, [])}
    if isinstance(fields.get("image"), Base64Text):
        given["image"] = "a file"
        if "image" in extra:
            given["extra_body"] = "extra_body.image"
    if len(given) > 1:
        names, others = " or ".join(given.values()), "both" if len(given) == 2 else "all"
        raise InvalidRequest(f"Give one reference: {names}, not {others}.", param=next(iter(given)))


def too_many_references(count: int) -> InvalidRequest:
    return InvalidRequest(f"MiniMax takes one reference image, not {count}.", param="image")


def rename_images(fields: dict[str, Any]) -> None:
    """Replace OpenAI's `images: [{image_url}]` by `subject_reference`. Raises `InvalidRequest`."""
    if "images" not in fields:
        return
    images = fields.pop("images")
    if not (isinstance(images, list) and all(isinstance(image, dict) and image.get("image_url") for image in images)):
        raise InvalidRequest('images must be an array of {"image_url": …} objects.', param="images")
    fields["subject_reference"] = [{"type": "character", "image_file": image["image_url"]} for image in images]
    for image in images:
        others = {name: value for name, value in image.items() if name != "image_url" and value is not None}
        fields |= {f"images.{name}": value for name, value in others.items()}
