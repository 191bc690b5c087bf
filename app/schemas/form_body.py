"""Decodes a multipart form into the JSON body's structure.

Both SDKs flatten objects into names: `style[style_type]`, `subject_reference[][type]` (empty brackets, no index).
`subject_reference[0][type]` is read too. Numbers and booleans stay text, which the form variant of the schema decodes.

A form has no null: an empty field is absent, and so is a browser's file input without a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from app.errors import InvalidRequest
from app.schemas.json_body import MAX_ECHOED_CHARS, parse_json
from app.schemas.reference_image import InvalidReferenceImage, data_url_of_file
from app.schemas.references import too_many_references
from app.spooling.json_reader import LARGE_BYTES
from app.spooling.spool import Spool
from app.spooling.spooled_text import SpooledText

# Fields that a form may also carry as one JSON string.
CONTAINERS = ("extra_body", "style", "subject_reference", "images", "image")
_UNEXPECTED_FILE = object()  # a value that no field accepts
MAX_DEPTH = 5  # extra_body[subject_reference][][image_file][]

_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_IMAGE_PART = re.compile(r"image(\[[0-9]*\])?", re.ASCII)


FormField = tuple[str, str | SpooledText]  # name and value


@dataclass(frozen=True)
class FilePart:
    """A file of the form: its part's name, its file name ("" if it has none) and its bytes."""

    name: str
    filename: str
    content: Spool

    @property
    def is_empty(self) -> bool:
        """True for what a browser sends for a file input in which no file is chosen."""
        return not (self.filename or self.content.size)


def decode_form(fields: Iterable[FormField], files: Iterable[FilePart]) -> dict[str, Any]:
    """Return the fields nested as their names say, and the file as `image`, a data URL. Raises `InvalidRequest`."""
    texts = [(name, value) for name, value in fields if value != ""]
    body = _nest((name, value) for name, value in texts if not _IMAGE_PART.fullmatch(name))
    images: list[Any] = [_read_image_text(value) for name, value in texts if _IMAGE_PART.fullmatch(name)]
    for file in files:
        if file.is_empty:
            continue
        if _IMAGE_PART.fullmatch(file.name):
            images.append(file)
        elif file.name in body:
            raise _given_twice(file.name)
        else:
            body[file.name] = _UNEXPECTED_FILE
    images += [body.pop("image")] if "image" in body else []  # `image[url]` and the like
    image = _one_image([image for image in images if image is not None])
    return body if image is None else body | {"image": image}


def _one_image(images: list[Any]) -> Any:
    if len(images) > 1:
        raise too_many_references(len(images))
    image = images[0] if images else None
    return _data_url(image) if isinstance(image, FilePart) else image


def _has_invalid_bytes(value: str | SpooledText) -> bool:
    """Whether there is a replacement for invalid bytes. A `SpooledText` is ASCII."""
    return isinstance(value, str) and "\ufffd" in value


def _read_image_text(value: str | SpooledText) -> Any:
    if _has_invalid_bytes(value):
        raise InvalidRequest(
            "image is not valid text. If it is a file, its part needs a file name (filename in Content-Disposition), "
            "or a Content-Type of image/….",
            param="image",
        )
    return _read_container("image", value)


def _data_url(file: FilePart) -> SpooledText:
    try:
        return data_url_of_file(file.content)
    except InvalidReferenceImage as error:
        raise InvalidRequest(f"image {error}.", param="image") from None


def _read_container(name: str, value: str | SpooledText) -> Any:
    start = value if isinstance(value, str) else value.head(LARGE_BYTES)
    if name in CONTAINERS and (value == "null" or start.lstrip()[:1] in ("{", "[")):
        return parse_json(str(value), param=name)
    return value


class _BracketObject(dict[str, Any]):
    """An object built from names with brackets, to which further names add. One given as JSON is complete."""


def _nest(pairs: Iterable[FormField]) -> dict[str, Any]:
    """`a[b]=1` becomes `{a: {b: 1}}`, `a[][b]=1` and `a[0][b]=1` become `{a: [{b: 1}]}`."""
    root: dict[str, Any] = {}
    for name, value in pairs:
        match = _NAME.fullmatch(name)
        keys = [match[1], *re.findall(r"\[([^\[\]]*)\]", match[2])] if match else [name]
        field = keys[0][:MAX_ECHOED_CHARS]
        if _has_invalid_bytes(value):
            raise InvalidRequest(f"{field} is not valid UTF-8, or holds U+FFFD.", param=field)
        if len(keys) > MAX_DEPTH:
            raise InvalidRequest("A field's name is nested too deeply.", param=field)
        _put(root, keys, _read_container(keys[-1], value), field=field)
    return {name: _to_lists(value) for name, value in root.items()}


def _put(node: dict[str, Any], keys: list[str], value: Any, *, field: str) -> None:
    key, *rest = keys
    if key == "":
        key = _array_index(node, rest)
    if not rest:
        if key in node:
            raise _given_twice(field)
        node[key] = value
        return
    child = node.setdefault(key, _BracketObject())
    if not isinstance(child, _BracketObject):
        raise _given_twice(field)
    _put(child, rest, value, field=field)


def _given_twice(field: str) -> InvalidRequest:
    return InvalidRequest("The same field is given twice.", param=field[:MAX_ECHOED_CHARS])


def _array_index(items: dict[str, Any], rest: list[str]) -> str:
    """The index that `[]` means: the last item, or a new one if the last one already has the field (Rack's rule).

    A field that is an array itself, as `[image_file][]`, continues the last item.
    """
    last = items.get(str(len(items) - 1))
    continues = bool(rest) and isinstance(last, _BracketObject) and ("" in rest or rest[0] not in last)
    return str(len(items) - 1 if continues else len(items))


def _to_lists(value: Any) -> Any:
    """Turn objects whose keys are all indexes into lists."""
    if not isinstance(value, _BracketObject):
        return value
    children = {key: _to_lists(child) for key, child in value.items()}
    if all(key.isascii() and key.isdecimal() for key in children):
        return [children[key] for key in sorted(children, key=lambda key: (len(key), key))]
    return children
