"""Error handlers: every exception becomes the JSON error envelope."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable

from flask import Flask, current_app, g, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound, RequestEntityTooLarge

from app.errors import GatewayError
from app.schemas.reference_image import MAX_IMAGE_BYTES
from app.web.body_limits import MAX_BODY_BYTES, LimitedBody
from app.web.request_context import current_context

log = logging.getLogger(__name__)

# Headers of werkzeug's exceptions that are useful to the caller beside the envelope.
_KEPT_HEADERS = ("Allow", "Retry-After", "Content-Range")
_MIB = 1024 * 1024


def register_error_handlers(app: Flask) -> None:
    app.register_error_handler(GatewayError, _respond)
    app.register_error_handler(HTTPException, lambda error: _respond(from_http_exception(error)))
    app.register_error_handler(Exception, _handle_unexpected)


def from_http_exception(error: HTTPException) -> GatewayError:
    """Translate an exception of werkzeug; `code` is the name of its status, such as `not_found`."""
    name = re.sub(r"[^a-z]+", "_", error.name.lower()).strip("_")
    translated = GatewayError(_message(error), code=name)
    translated.http_status = error.code or 500
    translated.extra_headers = tuple((k, v) for k, v in error.get_headers() if k in _KEPT_HEADERS)
    return translated


def _message(error: HTTPException) -> str:
    match error:
        case NotFound():
            return f"{_not_found_hint()} The gateway serves {', '.join(_endpoints())}."
        case MethodNotAllowed(valid_methods=[*methods]):
            return f"This path takes {' and '.join(sorted(_explicit_methods(methods)))} only."
        case RequestEntityTooLarge():
            return _too_large_message()
        case _:
            return error.description or error.name


def _not_found_hint() -> str:
    if request.path in ("/v1/usage", "/v1/usage/requests"):
        return "Usage needs a database, and this gateway has none (DATABASE_URL)."
    if current_app.url_map.bind("").allowed_methods(f"/v1{request.path}"):
        return "There is nothing at this path: a base URL for this gateway ends in /v1."
    return "There is nothing at this path."


def _too_large_message() -> str:
    """The message of a 413; werkzeug raises the same exception for a form with too many parts."""
    body: LimitedBody = g.body
    if not body.is_too_large:
        return f"The form has over {request.max_form_parts} parts."
    limit, image_limit = MAX_BODY_BYTES // _MIB, MAX_IMAGE_BYTES // _MIB
    return f"The body is over {limit} MiB; a reference image must be smaller than {image_limit} MB."


def _endpoints() -> list[str]:
    rules = [rule for rule in current_app.url_map.iter_rules() if rule.rule.startswith("/v1/") and not rule.arguments]
    return sorted(f"{method} {rule.rule}" for rule in rules for method in _explicit_methods(rule.methods or ()))


def _explicit_methods(methods: Iterable[str]) -> set[str]:
    return set(methods) - {"HEAD", "OPTIONS"}  # Flask adds these by itself


def _respond(error: GatewayError) -> ResponseReturnValue:
    current_context().set_error(error)
    return jsonify(error.envelope()), error.http_status, error.headers()


def _handle_unexpected(error: Exception) -> ResponseReturnValue:
    request_id = current_context().request_id
    log.error("Unhandled exception", exc_info=error, extra={"request_id": request_id})
    return _respond(GatewayError(f"Internal error. Give this request id to the operator: {request_id}."))
