"""Reads parameters of the query string."""

from __future__ import annotations

from collections.abc import Collection

from flask import request

from app.errors import InvalidRequest


def check_names(known: Collection[str]) -> None:
    """Raise `InvalidRequest` for a parameter that is not `known`, and for one that is given more than once."""
    for name, values in request.args.lists():
        if name not in known:
            raise InvalidRequest(f"{name} is not known here: send {' and '.join(known)}.", param=name)
        if len(values) > 1:
            raise InvalidRequest(f"{name} is given more than once.", param=name)


def number(name: str, default: int, low: int, high: int) -> int:
    """A whole number of up to three digits. Raises `InvalidRequest`, which names it."""
    values = request.args.getlist(name)
    if not values:
        return default
    text = values[0]
    if len(values) > 1 or not (text.isascii() and text.isdecimal() and len(text) < 4 and low <= int(text) <= high):
        raise InvalidRequest(f"{name} must be a whole number from {low} to {high}.", param=name)
    return int(text)
