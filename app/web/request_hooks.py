"""Before and after each request: opens the request context, drains the body, sets headers, writes the access log."""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask, Response, current_app, g, request

from app.web.access_log import log_request
from app.web.body_limits import LimitedBody
from app.web.request_context import RequestContext, current_context, new_context

# Records an image request: its context, endpoint and HTTP status. `app.extensions["record_usage"]`, if there is one.
RecordUsage = Callable[[RequestContext, str, int], None]


def register_request_hooks(app: Flask) -> None:
    app.before_request(_open_request)
    app.after_request(_close_request)


def _open_request() -> None:
    context = g.context = new_context()
    body = g.body = LimitedBody.install(request.environ)
    endpoint = request.url_rule.rule if request.url_rule else None
    record_usage: RecordUsage | None = current_app.extensions.get("record_usage")

    def end(status: int, bytes_out: int | None) -> None:
        if record_usage and context.is_image_request:
            record_usage(context, endpoint or "none", status)
        log_request(context, endpoint=endpoint, status=status, bytes_in=body.bytes_read, bytes_out=bytes_out)

    context.end = end


def _close_request(response: Response) -> Response:
    context = current_context()
    body: LimitedBody = g.body
    if response.status_code >= 400 and context.drain_body:
        body.drain()
    response.headers.update(context.headers())
    if not context.is_deferred:
        context.end(response.status_code, response.content_length)
    return response
