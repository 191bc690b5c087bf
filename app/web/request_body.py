"""Owns which content types the image endpoints read."""

from __future__ import annotations

from typing import IO, Any, cast

from flask import Request, current_app, request
from werkzeug.formparser import FormDataParser

from app.errors import InvalidRequest, UnsupportedContentType
from app.schemas.form_body import decode_form
from app.schemas.json_body import decode_json
from app.spooling.spool import CHUNK_BYTES, Spool


class GatewayRequest(Request):
    """Tells of a broken multipart body, which Flask would take for an empty form, and spools what is big."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._spools: list[Spool] = []

    def new_spool(self) -> Spool:
        """A spool that is closed with the request, however that ends."""
        spool = Spool(current_app.config["SPOOL_FOLDER"])
        self._spools.append(spool)
        return spool

    def close(self) -> None:
        super().close()
        for spool in self._spools:
            spool.close()

    def make_form_data_parser(self) -> FormDataParser:
        parser = super().make_form_data_parser()
        parser.silent = False
        return parser

    def _get_file_stream(self, *_: Any, **__: Any) -> IO[bytes]:
        return cast(IO[bytes], self.new_spool())  # werkzeug writes and rewinds it, no more


def is_form() -> bool:
    return request.mimetype == "multipart/form-data"


def json_body() -> dict[str, Any]:
    if not request.is_json:
        raise UnsupportedContentType(
            "Content-Type must be application/json (or multipart/form-data, on /v1/images/edits only)."
        )
    pieces = iter(lambda: request.stream.read(CHUNK_BYTES), b"")
    return decode_json(pieces, cast(GatewayRequest, request).new_spool())


def form_body() -> dict[str, Any]:
    try:
        form, files = request.form, request.files
    except ValueError:
        raise InvalidRequest("The multipart body is broken or cut short.", code="invalid_form") from None
    if not all((*form, *files)):  # werkzeug gives None as the name of a part that has none
        raise InvalidRequest("A part of the multipart body has no name.", code="invalid_form")
    return decode_form(form, files)
