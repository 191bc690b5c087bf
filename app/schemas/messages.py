"""Error messages and the names in `x-amux-ignored`, built from what validation found."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from marshmallow import ValidationError

from app.errors import InvalidRequest

_MAX_IGNORED_NAMES = 32
_MAX_IGNORED_CHARS = 64


def first_error(error: ValidationError, field_order: Iterable[str]) -> InvalidRequest:
    """The error of the first invalid field in `field_order`, as `subject_reference[0].type must be: character.`"""
    messages: dict[str, Any] = error.normalized_messages()  # type: ignore[no-untyped-call]
    name = min(messages, key=list(field_order).index)
    param, fault = _first_leaf(name, messages[name])
    return InvalidRequest(f"{param} {fault}.", param=param)


def _first_leaf(path: str, messages: Any) -> tuple[str, str]:
    """The path to the first message in marshmallow's nested messages, and that message."""
    while isinstance(messages, dict):
        key, messages = next(iter(messages.items()))
        if isinstance(key, int):
            path += f"[{key}]"
        elif key != "_schema":
            path += f".{key}"
    return path, messages[0]


def ignored_names(names: Iterable[str]) -> tuple[str, ...]:
    """Names as a header may carry them: sorted, percent-encoded, at most 64 characters each and 32 in all."""
    first = sorted(names)[:_MAX_IGNORED_NAMES]
    return tuple(
        quote(name[:_MAX_IGNORED_CHARS], safe="[]._-", errors="replace")[:_MAX_IGNORED_CHARS] for name in first
    )
