"""Owns which content types the image endpoints read."""

from __future__ import annotations

from io import BytesIO
from typing import IO, Any

from flask import Request, request
from werkzeug.formparser import FormDataParser

from app.errors import InvalidRequest, UnsupportedContentType
from app.schemas.form import decode_form
from app.schemas.json_body import decode_json


class GatewayRequest(Request):
    """Tells of a broken multipart body, which Flask would take for an empty form, and keeps files in memory."""

    def make_form_data_parser(self) -> FormDataParser:
        parser = super().make_form_data_parser()
        parser.silent = False
        return parser

    def _get_file_stream(self, *_: Any, **__: Any) -> IO[bytes]:
        """Bodies are bounded, and nobody would close the temporary file of an upload that breaks off."""
        return BytesIO()


def is_form() -> bool:
    return request.mimetype == "multipart/form-data"


def json_body() -> dict[str, Any]:
    if not request.is_json:
        raise UnsupportedContentType(
            "Content-Type must be application/json (or multipart/form-data, on /v1/images/edits only)."
        )
    return decode_json(request.get_data(cache=False))


def form_body() -> dict[str, Any]:
    try:
        form, files = request.form, request.files
    except ValueError:
        raise InvalidRequest("The multipart body is broken or cut short.", code="invalid_form") from None
    if not all((*form, *files)):  # werkzeug gives None as the name of a part that has none
        raise InvalidRequest("A part of the multipart body has no name.", code="invalid_form")
    return decode_form(form, files)
