"""Owns the way from an exception to an answer: whatever is raised leaves as the one envelope."""

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

# Headers of a framework refusal that mean something to the caller beside the envelope.
_KEPT_HEADERS = ("Allow", "Retry-After", "Content-Range")
_MIB = 1024 * 1024


def register_error_handlers(app: Flask) -> None:
    app.register_error_handler(GatewayError, _answer)
    app.register_error_handler(HTTPException, lambda error: _answer(from_http_exception(error)))
    app.register_error_handler(Exception, _answer_bug)


def from_http_exception(error: HTTPException) -> GatewayError:
    """The framework's refusal in our words; `code` is the status's name: `not_found`, `method_not_allowed`."""
    name = re.sub(r"[^a-z]+", "_", error.name.lower()).strip("_")
    translated = GatewayError(_message(error), code=name)
    translated.http_status = error.code or 500
    translated.extra_headers = tuple((k, v) for k, v in error.get_headers() if k in _KEPT_HEADERS)
    return translated


def _message(error: HTTPException) -> str:
    match error:
        case NotFound():
            return f"{_why_nothing_is_there()} The gateway serves {', '.join(_endpoints())}."
        case MethodNotAllowed(valid_methods=[*methods]):
            return f"This path takes {' and '.join(sorted(_named(methods)))} only."
        case RequestEntityTooLarge():
            return _what_is_too_large()
        case _:
            return error.description or error.name


def _why_nothing_is_there() -> str:
    if request.path == "/v1/usage":
        return "Usage needs a database, and this gateway has none (DATABASE_URL)."
    if current_app.url_map.bind("").allowed_methods(f"/v1{request.path}"):
        return "There is nothing at this path: a base URL for this gateway ends in /v1."
    return "There is nothing at this path."


def _what_is_too_large() -> str:
    """werkzeug says the same of a form with too many parts."""
    body: LimitedBody = g.body
    if not body.is_too_large:
        return f"The form has over {request.max_form_parts} parts."
    limit, image_limit = MAX_BODY_BYTES // _MIB, MAX_IMAGE_BYTES // _MIB
    return f"The body is over {limit} MiB; a reference image must be smaller than {image_limit} MB."


def _endpoints() -> list[str]:
    rules = [rule for rule in current_app.url_map.iter_rules() if rule.rule.startswith("/v1/") and not rule.arguments]
    return sorted(f"{method} {rule.rule}" for rule in rules for method in _named(rule.methods or ()))


def _named(methods: Iterable[str]) -> set[str]:
    return set(methods) - {"HEAD", "OPTIONS"}  # those that come with others


def _answer(error: GatewayError) -> ResponseReturnValue:
    current_context().set_error(error)
    return jsonify(error.envelope()), error.http_status, error.headers()


def _answer_bug(error: Exception) -> ResponseReturnValue:
    request_id = current_context().request_id
    log.error("bug", exc_info=error, extra={"request_id": request_id})
    return _answer(GatewayError(f"The gateway failed; the operator can find this by its request id, {request_id}."))
