"""`GET /openapi.json`, which needs no API key."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from functools import cache

from flask import Blueprint, Flask, Response, request
from flask.typing import ResponseReturnValue
from werkzeug.routing import Rule

MAX_AGE_SECONDS = 300


def register_openapi(app: Flask, build: Callable[[Iterable[Rule]], bytes]) -> None:
    """Register the route. `build` makes the document of the routes until now, when it is first asked for."""
    openapi = Blueprint("openapi", __name__)

    @openapi.get("/openapi.json")
    def show() -> ResponseReturnValue:
        """The document, which is the same for every caller; 304 for one that has it already."""
        document, etag = built()
        response = Response(document, content_type="application/json")
        response.headers["Cache-Control"] = f"public, max-age={MAX_AGE_SECONDS}"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.set_etag(etag)
        return response.make_conditional(request)

    @cache
    def built() -> tuple[bytes, str]:
        """The document and its ETag."""
        document = build(routes)
        return document, hashlib.sha256(document).hexdigest()[:32]

    app.register_blueprint(openapi)
    routes = list(app.url_map.iter_rules())
