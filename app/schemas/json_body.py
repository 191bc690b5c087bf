"""Strict JSON decoding: UTF-8, no duplicate keys, no NaN."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any, NoReturn

from app.errors import InvalidRequest
from app.spooling.json_reader import JsonReader
from app.spooling.spool import Spool

MAX_ECHOED_CHARS = 64  # of a name or value that the caller sent, in an error


def decode_json(pieces: Iterable[bytes], spool: Spool) -> dict[str, Any]:
    """Return the object in the body, with a `SpooledText` in `spool` for each long string.

    A byte order mark at the start is dropped (RFC 8259 section 8.1). Raises `InvalidRequest`, `SpoolFull`.
    """
    reader = JsonReader(spool)
    for piece in pieces:
        reader.feed(piece)
    document = reader.read(_parse_utf8)
    if not isinstance(document, dict):
        raise InvalidRequest("The body must be a JSON object.", code="invalid_json")
    return document


def _parse_utf8(body: bytes) -> Any:
    try:
        return parse_json(body.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise InvalidRequest("The body is not valid UTF-8.", code="invalid_json") from None


def parse_json(text: str, *, param: str | None = None) -> Any:
    """Return any JSON value. Raises `InvalidRequest`, with `param` if given, also for duplicate keys and NaN."""
    where = param or "The body"
    try:
        return json.loads(text, object_pairs_hook=_object_without_duplicates, parse_constant=_reject_constant)
    except json.JSONDecodeError as error:
        fault = f"is not valid JSON: {error.msg}, at line {error.lineno}, column {error.colno}"
    except RecursionError:
        fault = "is nested too deeply"
    except DuplicateKey as error:
        name = str(error)[:MAX_ECHOED_CHARS]
        raise InvalidRequest(
            f"{where} gives {name} twice in one object.", param=param or name, code="invalid_json"
        ) from None
    except ValueError:  # NaN, Infinity, or an integer of thousands of digits
        fault = "holds a number that is not finite, or too long"
    raise InvalidRequest(f"{where} {fault}.", param=param, code="invalid_json")


class DuplicateKey(ValueError):
    """An object has the same key twice. The message is the key."""


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        raise DuplicateKey(next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1))
    return document


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(name)
