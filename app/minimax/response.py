"""Parses MiniMax responses into images and metadata, or raises `MinimaxError`."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields

from app.minimax.error_codes import ERROR_BODY_CODES, STATUSES_WITH_ANY_BODY
from app.minimax.errors import MinimaxError, redact_status_message
from app.minimax.images import InvalidImage, check_url, clean_base64
from app.spooling.json_reader import JsonReader
from app.spooling.spooled_text import SpooledText

TRACE_HEADERS = ("Trace-Id", "Minimax-Request-Id", "X-Mm-Request-Id")
_TRACE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)
_STATUS_CODE = re.compile(r"-?[0-9]{1,9}", re.ASCII)
_WRONG_SHAPE = "of another shape than documented"


class _StatusCode(fields.Integer):
    """An integer or its digits. Rejects 0.5 and `false`, which marshmallow would read as 0, MiniMax's success."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if not _STATUS_CODE.fullmatch(str(value)):
            raise self.make_error("invalid", input=value)
        return super()._deserialize(value, attr, data, **kwargs)


class _Image(fields.String):
    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return value if isinstance(value, SpooledText) else super()._deserialize(value, *args, **kwargs)


class _BaseResp(Schema):
    class Meta:
        unknown = EXCLUDE

    status_code = _StatusCode(required=True)
    status_msg = fields.Raw(load_default=None, allow_none=True)


class _Data(Schema):
    class Meta:
        unknown = EXCLUDE

    image_urls = fields.List(_Image(allow_none=True), load_default=list, allow_none=True)
    image_base64 = fields.List(_Image(allow_none=True), load_default=list, allow_none=True)


class _Envelope(Schema):
    """The part that success and error responses have in common."""

    class Meta:
        unknown = EXCLUDE

    base_resp = fields.Nested(_BaseResp, required=True)


class _Success(Schema):
    class Meta:
        unknown = EXCLUDE

    data = fields.Nested(_Data, load_default=dict, allow_none=True)
    metadata = fields.Dict(keys=fields.String(), load_default=None, allow_none=True)


_ENVELOPE = _Envelope()
_SUCCESS = _Success()


def find_trace_id(headers: Mapping[str, str]) -> str | None:
    """The first well-formed id among `TRACE_HEADERS`. MiniMax's support asks for it."""
    values = (headers.get(name, "") for name in TRACE_HEADERS)
    return next((value for value in values if _TRACE_ID.fullmatch(value)), None)


def parse_response(
    http_status: int, body: JsonReader, *, response_format: str, retry_after: str | None, secrets: tuple[str, ...]
) -> tuple[tuple[str | SpooledText, ...], Mapping[str, Any] | None]:
    """The images, at least one, and MiniMax's metadata.

    `response_format` is MiniMax's, `url` or `base64`; `retry_after` is MiniMax's header; parts of `secrets` are never
    quoted from an error message. Raises `MinimaxError` for every other response, and `SpoolFull` when there is no room
    to rewrite an image.
    """
    document = _parse(http_status, body)
    if not isinstance(document, dict) or document.get("base_resp") is None:
        raise _error_without_base_resp(http_status, document, retry_after, secrets)
    base_resp = _load(_ENVELOPE, document, http_status)["base_resp"]
    if base_resp["status_code"] != 0:
        detail = redact_status_message(base_resp["status_msg"], secrets)
        raise MinimaxError(base_resp["status_code"], detail=detail, retry_after=retry_after)
    if http_status != 200:
        raise _invalid_response(http_status)

    success = _load(_SUCCESS, document, http_status)
    images, metadata = _images(success["data"] or {}, response_format, http_status), success["metadata"]
    if not images:
        raise MinimaxError("content_withheld" if _failed_count(metadata) > 0 else "nothing_delivered")
    return images, metadata


def _images(data: Mapping[str, Any], response_format: str, http_status: int) -> tuple[str | SpooledText, ...]:
    wanted, other = ("image_base64", "image_urls") if response_format == "base64" else ("image_urls", "image_base64")
    check = clean_base64 if response_format == "base64" else check_url
    try:
        images = tuple(check(image) for image in data.get(wanted) or () if image)
    except InvalidImage as error:
        raise _invalid_response(http_status, str(error)) from error
    if not images and any(data.get(other) or ()):
        raise _invalid_response(http_status, "images in another format than requested")
    return images


def _parse(http_status: int, body: JsonReader) -> Any:
    try:
        return body.read(partial(json.loads, parse_constant=_reject_constant, parse_float=_finite))
    except (ValueError, RecursionError) as error:
        if http_status in STATUSES_WITH_ANY_BODY:
            return None
        raise _invalid_response(http_status, "not JSON") from error


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _finite(number: str) -> float:
    # Python reads 1e999 as infinity, which JSON cannot express when it is written again.
    if math.isinf(value := float(number)):
        raise ValueError(f"{number} is too large")
    return value


def _load(schema: Schema, document: Any, http_status: int) -> Any:
    try:
        return schema.load(document)
    except ValidationError as error:
        raise _invalid_response(http_status, _WRONG_SHAPE) from error


def _error_without_base_resp(
    http_status: int, document: Any, retry_after: str | None, secrets: tuple[str, ...]
) -> MinimaxError:
    error = document.get("error") if isinstance(document, dict) else None
    has_error = isinstance(error, dict | str | SpooledText) and bool(error)
    if http_status not in ERROR_BODY_CODES or not (has_error or http_status in STATUSES_WITH_ANY_BODY):
        return _invalid_response(http_status, _WRONG_SHAPE)
    message = redact_status_message(error.get("message") if isinstance(error, dict) else error, secrets)
    detail = f"HTTP status {http_status}" + (f": {message}" if message else "")
    return MinimaxError(ERROR_BODY_CODES[http_status], detail=detail, retry_after=retry_after)


def _invalid_response(http_status: int, reason: str = "") -> MinimaxError:
    if http_status == 429:
        return MinimaxError("upstream_rate_limited")
    detail = f"HTTP status {http_status}" + (f", {reason}" if reason else "")
    return MinimaxError("upstream_invalid_answer", detail=detail)


def _failed_count(metadata: Mapping[str, Any] | None) -> int:
    # The count is documented as an integer and arrives as a string.
    try:
        return int((metadata or {}).get("failed_count") or 0)
    except (TypeError, ValueError):
        return 0
