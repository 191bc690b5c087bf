"""CORS: preflight responses, and the headers that let web pages of allowed origins read every response.

flask-cors writes the headers. The response to a preflight is made here, before authentication, because browsers
send preflights without the API key.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

from flask import Flask, Response, current_app, request
from flask_cors import CORS

from app.accounts.key_limits import RATE_LIMITS

# Response headers that scripts may read. tests/web/test_cors.py holds them against the headers that the code sets.
EXPOSED_HEADERS = (
    "x-request-id",
    "x-should-retry",
    "retry-after",
    "idempotent-replayed",
    "x-minimax-trace-id",
    *("x-amux-ignored", "x-amux-charged", "x-amux-balance", "x-amux-queued-ms", "x-amux-image-store"),
    *(f"x-ratelimit-{what}-{rate.header}" for what in ("limit", "remaining", "reset") for rate in RATE_LIMITS),
)
MAX_AGE_SECONDS = 600


def register_cors(app: Flask, origins: Sequence[str]) -> None:
    """Respond to preflights, and set CORS headers for `origins` (see `Settings.cors_origins`), errors included."""
    app.before_request(_handle_preflight)
    if not origins:
        return
    logging.getLogger("flask_cors").setLevel(logging.WARNING)  # below it, paths and origins that were sent are logged
    allow_all = origins == ("*",)
    CORS(
        app,
        # Exact patterns: flask-cors would take a text with brackets, such as an IPv6 origin, for a pattern of its own.
        origins="*" if allow_all else [re.compile(rf"{re.escape(origin)}\Z") for origin in origins],
        send_wildcard=allow_all,
        always_send=allow_all,
        expose_headers=", ".join(EXPOSED_HEADERS),
        max_age=MAX_AGE_SECONDS,
        vary_header=False,  # it would be missing from responses to other origins
        intercept_exceptions=False,  # the error handlers' responses pass through `after_request` too
    )
    if not allow_all:
        app.after_request(_vary_by_origin)


def _handle_preflight() -> Response | None:
    if request.method != "OPTIONS" or "Origin" not in request.headers:
        return None
    response = current_app.make_default_options_response()
    response.status_code = 204
    del response.headers["Content-Type"]
    return response


def _vary_by_origin(response: Response) -> Response:
    response.vary.add("Origin")
    return response
