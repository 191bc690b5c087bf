"""Owns the way from an exception to an answer: whatever is raised leaves as the one envelope."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable

from flask import Flask, current_app, jsonify
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from app.errors import GatewayError
from app.request_log import current_record

log = logging.getLogger(__name__)

# Headers of a framework refusal that mean something to the caller beside the envelope.
_KEPT_HEADERS = ("Allow", "Retry-After", "Content-Range")


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
            return f"There is nothing at this path. The gateway serves {', '.join(_endpoints())}."
        case MethodNotAllowed(valid_methods=[*methods]):
            return f"This path takes {' and '.join(sorted(_named(methods)))} only."
        case _:
            return error.description or error.name


def _endpoints() -> list[str]:
    rules = [rule for rule in current_app.url_map.iter_rules() if rule.rule.startswith("/v1/") and not rule.arguments]
    return sorted(f"{method} {rule.rule}" for rule in rules for method in _named(rule.methods or ()))


def _named(methods: Iterable[str]) -> set[str]:
    return set(methods) - {"HEAD", "OPTIONS"}  # those that come with others


def _answer(error: GatewayError) -> ResponseReturnValue:
    current_record().refused_by(error)
    return jsonify(error.envelope()), error.http_status, error.headers()


def _answer_bug(error: Exception) -> ResponseReturnValue:
    request_id = current_record().request_id
    log.error("bug", exc_info=error, extra={"request_id": request_id})
    return _answer(GatewayError(f"The gateway failed; the operator can find this by its request id, {request_id}."))
