"""Per-request context: id, timer, response headers."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from flask import g, request

from app import metrics
from app.accounts.api_key import Caller
from app.accounts.receipt import Receipt
from app.errors import GatewayError, UpstreamError
from app.services.image_request import ImageRequest, ImageResult

_REQUEST_ID_PATTERN = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)


@dataclass
class RequestContext:
    """Collects what the access log and the response headers report of one request.

    `caller` is set by authentication, `receipt` by the rate limiter and billing, the rest by `set_request`,
    `set_result` and `set_error`. `upstream_ms` is in milliseconds. `drain_body` is False if an error may be sent while
    the caller is still uploading. `taken` is one of `metrics.WAYS`, for an image request. `is_replay` is True if an
    idempotency key was used before, `is_earlier` if the answer is that of a call which another request began, whether
    or not the caller has stayed for it. `answer_headers` are those of an earlier call's answer. A request that
    `is_deferred` is logged when its call ends, by `end(status, bytes_out)`.
    """

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
    drain_body: bool = True
    trace_id: str | None = None
    upstream_ms: int | None = None
    image_store_failed: bool = False
    taken: str | None = None
    is_image_request: bool = False
    is_replay: bool = False
    is_earlier: bool = False
    is_deferred: bool = False
    answer_headers: dict[str, str] = field(default_factory=dict)
    end: Callable[[int, int | None], None] = lambda _status, _bytes_out: None

    def set_request(self, image_request: ImageRequest) -> None:
        self.model = image_request.model.id
        self.n = image_request.n
        self.ignored = image_request.ignored

    def set_result(self, result: ImageResult) -> None:
        self.delivered = len(result.images)
        self.upstream_code = metrics.SUCCESS
        self.trace_id = result.trace_id
        self.upstream_ms = result.upstream_ms
        self.image_store_failed = result.image_store_failed

    def set_error(self, error: GatewayError) -> None:
        self.code = error.code
        self.drain_body = error.drain_body
        if isinstance(error, UpstreamError):
            self.upstream_code = error.code
            self.trace_id = error.trace_id
            self.upstream_ms = error.upstream_ms

    @property
    def known_caller(self) -> Caller:
        """The caller. Raises `LookupError` on a route without authentication."""
        if self.caller is None:
            raise LookupError("the request is not authenticated")
        return self.caller

    @property
    def asked(self) -> int:
        """How many images count as asked for: those of an earlier call count with the request that began it."""
        return 0 if self.is_earlier else self.n or 0

    @property
    def is_charge_final(self) -> bool:
        """False for a response whose call still runs: a task's 202, or a stream whose head does not wait for it."""
        has_outcome = self.code is not None or self.upstream_code is not None
        return not self.is_deferred or self.is_earlier or has_outcome

    @property
    def seconds(self) -> float:
        """Seconds since the request was read."""
        return time.monotonic() - self.started

    def headers(self) -> dict[str, str]:
        """The headers of every response."""
        headers = {
            **self.answer_headers,
            "x-request-id": self.request_id,
            **self.receipt.headers(is_final=self.is_charge_final),
        }
        if self.is_replay:
            headers["idempotent-replayed"] = "true"
        if self.trace_id:
            headers["x-minimax-trace-id"] = self.trace_id
        if self.ignored:
            headers["x-amux-ignored"] = ", ".join(self.ignored)
        if self.image_store_failed:
            headers["x-amux-image-store"] = "unavailable"
        return headers


def new_context() -> RequestContext:
    """The context of this request, under the caller's `x-request-id` if that is valid, else under a new one."""
    sent = request.headers.get("x-request-id", "")
    return RequestContext(request_id=sent if _REQUEST_ID_PATTERN.fullmatch(sent) else uuid.uuid4().hex)


def current_context() -> RequestContext:
    context: RequestContext = g.context
    return context
