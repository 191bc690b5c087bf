"""Owns how a multipart form is read: into the same shape that a JSON body has.

Both SDKs flatten objects into names: `style[style_type]`, `subject_reference[][type]` (empty brackets, no
index), and Node `subject_reference[0][type]`-like names where its user writes them. Typed fields stay text
here: the schema's form face reads them.

A form has no null: what is left empty is absent (a field, or a browser's file input without a file).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, cast

from werkzeug.datastructures import FileStorage, MultiDict

from app.errors import InvalidRequest
from app.schemas.json_body import MAX_ECHOED_CHARS, parse_json
from app.schemas.reference_image import InvalidReferenceImage, data_url_of_file
from app.spooling.spool import Spool
from app.spooling.spooled_text import SpooledText

# Fields that a form may also carry as one JSON string.
CONTAINERS = ("extra_body", "style", "subject_reference", "images")
_A_FILE = object()  # which no field accepts
MAX_DEPTH = 5  # extra_body[subject_reference][][image_file][]

_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_IMAGE_PART = re.compile(r"image(\[[0-9]*\])?", re.ASCII)


def decode_form(form: MultiDict[str, str], files: MultiDict[str, FileStorage]) -> dict[str, Any]:
    """The form's fields, nested as their names say; a file becomes `subject_reference`. Raises `InvalidRequest`."""
    body = _nest((name, value) for name, value in form.items(multi=True) if value != "")
    given = [(name, file) for name, file in files.items(multi=True) if not _is_empty(file)]
    images = [file for name, file in given if _IMAGE_PART.fullmatch(name)]
    for name, _ in given:
        if name in body:
            raise _given_twice(name)
        if not _IMAGE_PART.fullmatch(name):
            body[name] = _A_FILE
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


def _is_empty(file: FileStorage) -> bool:
    """What a browser sends for a file input where nobody chose a file."""
    return not (file.filename or _spool_of(file).size)


def _spool_of(file: FileStorage) -> Spool:
    return cast(Spool, file.stream)  # as GatewayRequest makes them


def _has_reference(fields: dict[str, Any]) -> bool:
    return any(fields.get(name) not in (None, []) for name in ("subject_reference", "images"))


def _data_url(file: FileStorage) -> SpooledText:
    try:
        return data_url_of_file(_spool_of(file))
    except InvalidReferenceImage as error:
        raise InvalidRequest(f"image {error}.", param="image") from None


def _read_container(name: str, value: str) -> Any:
    if name in CONTAINERS and (value == "null" or value.lstrip()[:1] in ("{", "[")):
        return parse_json(value, param=name)
    return value


class _Branch(dict[str, Any]):
    """An object that names with brackets have made, and may still add to; one that came as JSON is whole."""


def _nest(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """`a[b]=1` becomes `{a: {b: 1}}`, `a[][b]=1` and `a[0][b]=1` become `{a: [{b: 1}]}`."""
    root: dict[str, Any] = {}
    for name, value in pairs:
        match = _NAME.fullmatch(name)
        keys = [match[1], *re.findall(r"\[([^\[\]]*)\]", match[2])] if match else [name]
        field = keys[0][:MAX_ECHOED_CHARS]
        if "\ufffd" in value:  # what werkzeug puts in the place of broken bytes
            raise InvalidRequest(f"{field} is not valid UTF-8, or holds U+FFFD.", param=field)
        if len(keys) > MAX_DEPTH:
            raise InvalidRequest("A field's name is nested too deeply.", param=field)
        _put(root, keys, _read_container(keys[-1], value), field=field)
    return {name: _lists(value) for name, value in root.items()}


def _put(node: dict[str, Any], keys: list[str], value: Any, *, field: str) -> None:
    key, *rest = keys
    if key == "":
        key = _position(node, rest)
    if not rest:
        if key in node:
            raise _given_twice(field)
        node[key] = value
        return
    child = node.setdefault(key, _Branch())
    if not isinstance(child, _Branch):
        raise _given_twice(field)
    _put(child, rest, value, field=field)


def _given_twice(field: str) -> InvalidRequest:
    return InvalidRequest("The same field is given twice.", param=field[:MAX_ECHOED_CHARS])


def _position(items: dict[str, Any], rest: list[str]) -> str:
    """Where `[]` points: at the last item, or behind it where that one already has the field (as Rack reads it).

    A field that is an array itself, as `[image_file][]`, goes on in the last item.
    """
    last = items.get(str(len(items) - 1))
    continues = bool(rest) and isinstance(last, _Branch) and ("" in rest or rest[0] not in last)
    return str(len(items) - 1 if continues else len(items))


def _lists(value: Any) -> Any:
    """Turns objects whose every key is a position into lists."""
    if not isinstance(value, _Branch):
        return value
    children = {key: _lists(child) for key, child in value.items()}
    if all(key.isascii() and key.isdecimal() for key in children):
        return [children[key] for key in sorted(children, key=lambda key: (len(key), key))]
    return children
