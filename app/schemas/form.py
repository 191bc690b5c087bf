"""Owns how a multipart form is read: into the same shape that a JSON body has.

Both SDKs flatten objects into names: `style[style_type]`, `subject_reference[][type]` (empty brackets, no
index), and Node `subject_reference[0][type]`-like names where its user writes them. Typed fields stay text
here: the schema's form face reads them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from werkzeug.datastructures import FileStorage, MultiDict

from app.errors import InvalidRequest
from app.schemas.json_body import parse_json
from app.services.reference_image import InvalidReferenceImage, data_url_of_file

# Fields that a form may also carry as one JSON string.
CONTAINERS = ("extra_body", "style", "subject_reference", "images")
MAX_DEPTH = 4

_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_IMAGE_PART = re.compile(r"image(\[[0-9]*\])?", re.ASCII)


def decode_form(form: MultiDict[str, str], files: MultiDict[str, FileStorage]) -> dict[str, Any]:
    """The form's fields, nested as their names say; a file becomes `subject_reference`. Raises `InvalidRequest`."""
    body = {name: _read_container(name, value) for name, value in _nest(form.items(multi=True)).items()}
    images = [file for name, file in files.items(multi=True) if _IMAGE_PART.fullmatch(name)]
    others = [name for name in files if not _IMAGE_PART.fullmatch(name)]
    for name in others:
        if name in body:
            raise InvalidRequest("Given both as a file and as a field.", param=name)
        body[name] = files[name]
    if "image" in body:
        raise InvalidRequest(
            "image must be a file part with a file name; give a URL as subject_reference.", param="image"
        )
    if not images:
        return body
    if len(images) > 1:
        raise InvalidRequest(f"MiniMax takes one reference image, not {len(images)}.", param="image")
    extra = body.get("extra_body")
    if any(_has_reference(fields) for fields in (body, extra) if isinstance(fields, dict)):
        raise InvalidRequest("Give one reference: a file, or subject_reference, not both.", param="image")
    return body | {"subject_reference": [{"type": "character", "image_file": _data_url(images[0])}]}


def _has_reference(fields: dict[str, Any]) -> bool:
    return bool(fields.get("subject_reference") or fields.get("images"))


def _data_url(file: FileStorage) -> str:
    try:
        return data_url_of_file(file.stream.read())
    except InvalidReferenceImage as error:
        raise InvalidRequest(f"image {error}.", param="image") from None


def _read_container(name: str, value: Any) -> Any:
    if name in CONTAINERS and isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        return parse_json(value, param=name)
    return value


def _nest(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """`a[b]=1` becomes `{a: {b: 1}}`, `a[][b]=1` and `a[0][b]=1` become `{a: [{b: 1}]}`."""
    root: dict[str, Any] = {}
    for name, value in pairs:
        if "\ufffd" in value:
            raise InvalidRequest(f"{name} is not valid UTF-8.", param=name)
        match = _NAME.fullmatch(name)
        keys = [match[1], *re.findall(r"\[([^\[\]]*)\]", match[2])] if match else [name]
        if len(keys) > MAX_DEPTH:
            raise InvalidRequest("A field's name is nested too deeply.", param=keys[0])
        _put(root, keys, value, field=keys[0])
    return {name: _lists(value) for name, value in root.items()}


def _put(node: dict[str, Any], keys: list[str], value: str, *, field: str) -> None:
    key, *rest = keys
    if key == "":
        key = _position(node, rest)
    if not rest:
        if key in node:
            raise InvalidRequest("The same field is given twice.", param=field)
        node[key] = value
        return
    child = node.setdefault(key, {})
    if not isinstance(child, dict):
        raise InvalidRequest("The same field is given twice.", param=field)
    _put(child, rest, value, field=field)


def _position(items: dict[str, Any], rest: list[str]) -> str:
    """Where `[]` points: at the last item, or behind it where that one already has the field (as Rack reads it)."""
    last = items.get(str(len(items) - 1))
    continues = bool(rest) and isinstance(last, dict) and (rest[0] == "" or rest[0] not in last)
    return str(len(items) - 1 if continues else len(items))


def _lists(value: Any) -> Any:
    """Turns objects whose every key is a position into lists."""
    if not isinstance(value, dict):
        return value
    children = {key: _lists(child) for key, child in value.items()}
    if all(key.isascii() and key.isdecimal() for key in children):
        return [children[key] for key in sorted(children, key=lambda key: (len(key), key))]
    return children
