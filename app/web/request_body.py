"""Reads the body of an image request: JSON, or a multipart form."""

from __future__ import annotations

from typing import Any, cast

from flask import Request, current_app, request

from app.errors import UnsupportedContentType
from app.schemas.form_body import decode_form
from app.schemas.json_body import MAX_ECHOED_CHARS, decode_json
from app.spooling.spool import CHUNK_BYTES, Spool
from app.web.multipart import read_multipart


class GatewayRequest(Request):
    """Request that closes the spools of its body when it ends."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._spools: list[Spool] = []

    def new_spool(self) -> Spool:
        """Return a spool that is closed with the request, however that ends."""
        spool = Spool(current_app.config["SPOOL_FOLDER"])
        self._spools.append(spool)
        return spool

    def keep_spools(self) -> list[Spool]:
        """Return the spools, which somebody else then closes: the call outlasts the request."""
        kept, self._spools = self._spools, []
        return kept

    def close(self) -> None:
        super().close()
        for spool in self._spools:
            spool.close()


def keep_spools() -> list[Spool]:
    """`GatewayRequest.keep_spools` of the current request."""
    return _gateway_request().keep_spools()


def new_spool() -> Spool:
    """A spool that is closed with the current request, unless it is kept."""
    return _gateway_request().new_spool()


def is_form() -> bool:
    return request.mimetype == "multipart/form-data"


def json_body() -> dict[str, Any]:
    """Return the JSON object in the body, with a `SpooledText` for each long string.

    Raises `UnsupportedContentType` (415), `InvalidRequest` (400), `SpoolFull` (503), and what reading the body raises:
    `RequestEntityTooLarge` (413), `RequestTimeout` (408) and `ClientDisconnected` (400).
    """
    _check_content_encoding()
    if not request.is_json:
        raise UnsupportedContentType(
            "Content-Type must be application/json (or multipart/form-data, on /v1/images/edits only)."
        )
    pieces = iter(lambda: request.stream.read(CHUNK_BYTES), b"")
    return decode_json(pieces, _gateway_request().new_spool())


def form_body() -> dict[str, Any]:
    """Return the multipart form in the structure of a JSON body. Raises as `json_body` does."""
    _check_content_encoding()
    boundary = request.mimetype_params.get("boundary", "")
    return decode_form(*read_multipart(request.stream, boundary, _gateway_request().new_spool, request.max_form_parts))


def _check_content_encoding() -> None:
    header = request.headers.get("Content-Encoding", "")
    if all(coding.strip().lower() in ("identity", "") for coding in header.split(",")):
        return
    error = UnsupportedContentType(
        f"Content-Encoding {header[:MAX_ECHOED_CHARS]} is not supported: send the body without compression."
    )
    error.extra_headers = (("Accept-Encoding", "identity"),)  # RFC 9110 section 15.5.16
    raise error


def _gateway_request() -> GatewayRequest:
    return cast(GatewayRequest, request)
