"""Access log: one JSON line and the metrics of each request.

The line holds numbers and names only. A `RequestContext` never holds a prompt, image, URL or key, so that no log level
can print one.
"""

from __future__ import annotations

import logging

from app import metrics
from app.web.request_context import RequestContext

log = logging.getLogger(__name__)


def log_request(
    context: RequestContext, *, endpoint: str | None, status: int, bytes_in: int, bytes_out: int | None
) -> None:
    """Write the access log line and count the request. `endpoint` is the route, never the path that was sent."""
    _count(context, endpoint or "none", status, bytes_in, bytes_out or 0)
    log.info(
        "request",
        extra={
            "request_id": context.request_id,
            "caller": context.caller.fingerprint if context.caller else None,
            "endpoint": endpoint,
            "model": context.model,
            "n": context.n,
            "delivered": context.delivered,
            "status": status,
            "code": context.code,
            "queued_ms": context.receipt.queued_ms,
            "upstream_key": context.receipt.upstream_key,
            "upstream_ms": context.upstream_ms,
            "total_ms": round(context.seconds * 1000),
            "trace_id": context.trace_id,
            "taken": context.taken,
            "bytes_in": bytes_in,
            "bytes_out": bytes_out,
        },
    )


def _count(context: RequestContext, endpoint: str, status: int, bytes_in: int, bytes_out: int) -> None:
    metrics.REQUESTS.labels(endpoint, context.model or "none", status).inc()
    metrics.REQUEST_SECONDS.labels(endpoint).observe(context.seconds)
    metrics.REQUEST_BYTES.inc(bytes_in)
    metrics.RESPONSE_BYTES.inc(bytes_out)
    if context.taken is not None and context.is_image_request:  # a task is counted once, however often it is fetched
        metrics.ANSWERS_TAKEN.labels(context.taken).inc()
    if context.upstream_code is not None and context.upstream_ms is not None:  # None: a key rests, no call was made
        metrics.count_upstream_call(context.upstream_code)
        metrics.UPSTREAM_SECONDS.observe(context.upstream_ms / 1000)
        metrics.IMAGES_REQUESTED.labels(context.model).inc(context.n or 0)
        metrics.IMAGES_DELIVERED.labels(context.model).inc(context.delivered)
