"""Owns what MiniMax answers: from status, headers and bytes to an `ImageResult`, or a `MinimaxError`."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields

from app.minimax.errors import MinimaxError, redact_status_message
from app.spooling.json_reader import JsonReader
from app.spooling.spooled_text import SpooledText

TRACE_HEADERS = ("Trace-Id", "Minimax-Request-Id", "X-Mm-Request-Id")
_SANE_TRACE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)
_SANE_CODE = re.compile(r"-?[0-9]{1,9}", re.ASCII)


class _Code(fields.Integer):
    """A whole number or its digits; never a truncated 0.5 or a `false`, which would pass for success."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if not _SANE_CODE.fullmatch(str(value)):
            raise self.make_error("invalid", input=value)
        return super()._deserialize(value, attr, data, **kwargs)


class _Image(fields.String):
    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return value if isinstance(value, SpooledText) else super()._deserialize(value, *args, **kwargs)


class _BaseResp(Schema):
    class Meta:
        unknown = EXCLUDE

    status_code = _Code(required=True)
    status_msg = fields.Raw(load_default=None, allow_none=True)


class _Data(Schema):
    class Meta:
        unknown = EXCLUDE

    image_urls = fields.List(_Image(allow_none=True), load_default=list, allow_none=True)
    image_base64 = fields.List(_Image(allow_none=True), load_default=list, allow_none=True)


class _Refusal(Schema):
    """What every answer has, be it a refusal or not."""

    class Meta:
        unknown = EXCLUDE

    base_resp = fields.Nested(_BaseResp, required=True)


class _Success(Schema):
    class Meta:
        unknown = EXCLUDE

    data = fields.Nested(_Data, load_default=dict, allow_none=True)
    metadata = fields.Dict(keys=fields.String(), load_default=None, allow_none=True)


_REFUSAL = _Refusal()
_SUCCESS = _Success()


def find_trace_id(headers: Mapping[str, str]) -> str | None:
    """The id that MiniMax's support asks for."""
    values = (headers.get(name, "") for name in TRACE_HEADERS)
    return next((value for value in values if _SANE_TRACE_ID.fullmatch(value)), None)


def parse_response(
    http_status: int, body: JsonReader, *, response_format: str, retry_after: str | None, secrets: tuple[str, ...]
) -> tuple[tuple[str | SpooledText, ...], Mapping[str, Any] | None]:
    """The pictures and MiniMax's metadata. Raises `MinimaxError` for every answer without a picture.

    `response_format` is MiniMax's, `url` or `base64`; `secrets` are never quoted from a refusal.
    """
    document = _parse(http_status, body)
    base_resp = _load(_REFUSAL, document, http_status)["base_resp"]
    if base_resp["status_code"] != 0:
        detail = redact_status_message(base_resp["status_msg"], secrets)
        raise MinimaxError(base_resp["status_code"], detail=detail, retry_after=retry_after)
    if http_status != 200:
        raise _not_understood(http_status)

    success = _load(_SUCCESS, document, http_status)
    data, metadata = success["data"] or {}, success["metadata"]
    wanted, other = ("image_base64", "image_urls") if response_format == "base64" else ("image_urls", "image_base64")
    images = tuple(image for image in data.get(wanted) or () if image)
    if not images:
        if any(data.get(other) or ()):
            raise _not_understood(http_status, "pictures in another format than asked")
        raise MinimaxError("content_withheld" if _failed_count(metadata) > 0 else "nothing_delivered")
    return images, metadata


def _parse(http_status: int, body: JsonReader) -> Any:
    try:
        return body.read(partial(json.loads, parse_constant=_refuse_constant, parse_float=_finite))
    except (ValueError, RecursionError) as error:
        raise _not_understood(http_status, "not JSON") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _finite(number: str) -> float:
    # Python reads 1e999 as infinity, and would write that as a word that is no JSON.
    if math.isinf(value := float(number)):
        raise ValueError(f"{number} is too large")
    return value


def _load(schema: Schema, document: Any, http_status: int) -> Any:
    try:
        return schema.load(document)
    except ValidationError as error:
        raise _not_understood(http_status, "of another shape than documented") from error


def _not_understood(http_status: int, what: str = "") -> MinimaxError:
    if http_status == 429:
        return MinimaxError("upstream_rate_limited")
    detail = f"HTTP status {http_status}" + (f", {what}" if what else "")
    return MinimaxError("upstream_invalid_answer", detail=detail)


def _failed_count(metadata: Mapping[str, Any] | None) -> int:
    # The count is documented as an integer and arrives as a string.
    try:
        return int((metadata or {}).get("failed_count") or 0)
    except (TypeError, ValueError):
        return 0
