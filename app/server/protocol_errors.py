"""JSON envelopes for what gunicorn rejects before there is a request: malformed HTTP, oversized heads."""

from __future__ import annotations

import json
import logging
import uuid
from typing import NamedTuple

from gunicorn.http.errors import (
    ExpectationFailed,
    InvalidResponseHeader,
    InvalidResponseHeaderName,
    LimitRequestHeaders,
    LimitRequestLine,
    ParseException,
    UnsupportedTransferCoding,
)

from app.errors import GatewayError
from app.web.access_log import log_request
from app.web.request_context import RequestContext

log = logging.getLogger(__name__)


class ProtocolError(NamedTuple):
    status: int
    reason: str
    code: str
    message: str


# The errors that are not a plain 400. deploy/nginx.conf uses the same words.
PROTOCOL_ERRORS: dict[type[Exception], ProtocolError] = {
    LimitRequestLine: ProtocolError(414, "URI Too Long", "uri_too_long", "The URL is too long."),
    LimitRequestHeaders: ProtocolError(
        431,
        "Request Header Fields Too Large",
        "request_header_fields_too_large",
        "The request's headers are too large.",
    ),
    ExpectationFailed: ProtocolError(
        417, "Expectation Failed", "expectation_failed", "The server knows no expectation but 100-continue."
    ),
    UnsupportedTransferCoding: ProtocolError(
        501, "Not Implemented", "not_implemented", "The server does not know this Transfer-Encoding."
    ),
}


def protocol_error_response(error: BaseException) -> bytes:
    """The whole HTTP response to a request that gunicorn could not handle; writes the access log line.

    Nothing that was sent is logged: the faulty header may hold the API key.
    """
    context = RequestContext(request_id=uuid.uuid4().hex)
    if isinstance(error, ParseException) and not isinstance(error, InvalidResponseHeader | InvalidResponseHeaderName):
        rejection = PROTOCOL_ERRORS.get(type(error)) or _bad_request(error)
        log.warning("Malformed request: %s, request id %s", type(error).__name__, context.request_id)
    else:
        rejection = _internal_error(context.request_id)
        log.error("Unhandled exception", exc_info=error, extra={"request_id": context.request_id})
    gateway_error = GatewayError(rejection.message, code=rejection.code)
    context.set_error(gateway_error)
    body = json.dumps(gateway_error.envelope()).encode()
    log_request(context, endpoint=None, status=rejection.status, bytes_in=0, bytes_out=len(body))
    headers = {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Connection": "close",
        **context.headers(),
        **gateway_error.headers(),
    }
    lines = [f"HTTP/1.1 {rejection.status} {rejection.reason}", *(f"{k}: {v}" for k, v in headers.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def _bad_request(error: ParseException) -> ProtocolError:
    message = f"This is not a request that the server can read: {type(error).__name__}."
    return ProtocolError(400, "Bad Request", "bad_request", message)


def _internal_error(request_id: str) -> ProtocolError:
    message = f"Internal error. Give this request id to the operator: {request_id}."
    return ProtocolError(500, "Internal Server Error", GatewayError.code, message)
