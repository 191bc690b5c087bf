"""Before and after each request: opens the request context, drains the body, sets headers, writes the access log."""

from __future__ import annotations

from flask import Flask, Response, g, request

from app.web.access_log import log_request
from app.web.body_limits import LimitedBody
from app.web.request_context import current_context, new_context


def register_request_hooks(app: Flask) -> None:
    app.before_request(_open_request)
    app.after_request(_close_request)


def _open_request() -> None:
    g.context = new_context()
    g.body = LimitedBody.install(request.environ)


def _close_request(response: Response) -> Response:
    context = current_context()
    body: LimitedBody = g.body
    if response.status_code >= 400 and context.drain_body:
        body.drain()
    response.headers.update(context.headers())
    log_request(
        context,
        endpoint=request.url_rule.rule if request.url_rule else None,
        status=response.status_code,
        bytes_in=body.bytes_read,
        bytes_out=response.content_length,
    )
    return response
