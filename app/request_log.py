"""Owns what is known of one request: its id, its clock, its headers, and the one log line it ends in.

The line holds numbers and names only. Prompts, pictures, URLs and keys are never put into a `RequestRecord`,
so that no log level can print them.
"""

from __future__ import annotations

import logging
import re
import time
import uuid
from dataclasses import dataclass, field

from flask import Flask, Response, g, request

from app import metrics
from app.accounts.caller import Caller
from app.accounts.receipt import Receipt
from app.body import CountedBody
from app.errors import GatewayError
from app.image_request import ImageRequest
from app.minimax.answer import Answer
from app.minimax.errors import MinimaxError

log = logging.getLogger(__name__)

_SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)


@dataclass
class RequestRecord:
    """What the log line and the answer's headers are made of; filled in as the request goes along."""

    request_id: str
    started: float = field(default_factory=time.monotonic)
    caller: Caller | None = None
    receipt: Receipt = field(default_factory=Receipt)
    model: str | None = None
    n: int | None = None
    ignored: tuple[str, ...] = ()
    delivered: int = 0
    code: str | None = None
    upstream_code: str | None = None
    reads_body_first: bool = True
    trace_id: str | None = None
    upstream_ms: int | None = None

    def asked_for(self, image_request: ImageRequest) -> None:
        self.model = image_request.model.id
        self.n = image_request.n
        self.ignored = image_request.ignored

    def answered_with(self, answer: Answer) -> None:
        self.delivered = len(answer.images)
        self.upstream_code = metrics.SUCCESS
        self.trace_id = answer.trace_id
        self.upstream_ms = answer.upstream_ms

    def refused_by(self, error: GatewayError) -> None:
        self.code = error.code
        self.reads_body_first = error.reads_body_first
        if isinstance(error, MinimaxError):
            self.upstream_code = error.code
            self.trace_id = error.trace_id
            self.upstream_ms = error.upstream_ms

    @property
    def known_caller(self) -> Caller:
        if self.caller is None:
            raise LookupError("nobody has been authenticated")
        return self.caller

    @property
    def seconds(self) -> float:
        """Since the request was read."""
        return time.monotonic() - self.started

    def headers(self) -> dict[str, str]:
        headers = {"x-request-id": self.request_id, **self.receipt.headers()}
        if self.trace_id:
            headers["x-minimax-trace-id"] = self.trace_id
        if self.ignored:
            headers["x-amux-ignored"] = ", ".join(self.ignored)
        return headers


def current_record() -> RequestRecord:
    record: RequestRecord = g.record
    return record


def register_request_log(app: Flask) -> None:
    app.before_request(_open)
    app.after_request(_close)


def _open() -> None:
    sent = request.headers.get("x-request-id", "")
    g.record = RequestRecord(request_id=sent if _SANE_REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex)
    g.body = CountedBody.install(request.environ)


def _close(response: Response) -> Response:
    record = current_record()
    body: CountedBody = g.body
    if response.status_code >= 400 and record.reads_body_first:
        body.drain()
    response.headers.update(record.headers())
    log_request(
        record,
        endpoint=request.url_rule.rule if request.url_rule else None,
        status=response.status_code,
        bytes_in=body.bytes_read,
        bytes_out=response.content_length,
    )
    return response


def log_request(
    record: RequestRecord, *, endpoint: str | None, status: int, bytes_in: int, bytes_out: int | None
) -> None:
    """The one line, and the same in the metrics. `endpoint` is the route, never the path that was sent."""
    _count(record, endpoint or "none", status, bytes_in, bytes_out or 0)
    log.info(
        "request",
        extra={
            "request_id": record.request_id,
            "caller": record.caller.name if record.caller else None,
            "endpoint": endpoint,
            "model": record.model,
            "n": record.n,
            "delivered": record.delivered,
            "status": status,
            "code": record.code,
            "upstream_ms": record.upstream_ms,
            "total_ms": round(record.seconds * 1000),
            "trace_id": record.trace_id,
            "bytes_in": bytes_in,
            "bytes_out": bytes_out,
        },
    )


def _count(record: RequestRecord, endpoint: str, status: int, bytes_in: int, bytes_out: int) -> None:
    metrics.REQUESTS.labels(endpoint, record.model or "none", status).inc()
    metrics.REQUEST_SECONDS.labels(endpoint).observe(record.seconds)
    metrics.BYTES_IN.inc(bytes_in)
    metrics.BYTES_OUT.inc(bytes_out)
    if record.upstream_code is not None:
        metrics.UPSTREAM_CALLS.labels(metrics.upstream_label(record.upstream_code)).inc()
        metrics.UPSTREAM_SECONDS.observe((record.upstream_ms or 0) / 1000)
        metrics.PICTURES_ASKED.labels(record.model).inc(record.n or 0)
        metrics.PICTURES_DELIVERED.labels(record.model).inc(record.delivered)
