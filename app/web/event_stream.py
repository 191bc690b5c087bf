"""A response of server-sent events whose head waits for the outcome of the call, and heartbeats while it runs on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from flask import Response

from app.errors import GatewayError
from app.services.events import HEARTBEAT

HEARTBEAT_SECONDS = 10.0  # must be less than the read timeouts of routers: Heroku 55 s, nginx.conf 240 s
CONTENT_TYPE = "text/event-stream; charset=utf-8"
# nginx obeys the second one, and removes it.
_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}

Result = TypeVar("Result")
# Waits for at most that many seconds. Returns the call's result or its error, or None if the call has not ended.
Wait = Callable[[float], Result | GatewayError | None]


def event_stream_response(
    wait: Wait[Result],
    *,
    render: Callable[[Result], Iterable[bytes]],
    render_error: Callable[[GatewayError], bytes],
    head_seconds: float,
    heartbeat_seconds: float = HEARTBEAT_SECONDS,
) -> Response:
    """Wait for the outcome of a call, and return it as an event stream without a Content-Length.

    Raises the call's `GatewayError` if the call fails within `head_seconds`, so that the error has its HTTP status. A
    later error is the stream's only event. `wait` and both renderers are then called while the response is sent, after
    the end of the request context. If the client disconnects, the worker ends the stream at the first heartbeat that
    cannot be sent. `Response.call_on_close` functions are called in any case.
    """
    outcome = wait(head_seconds)
    if isinstance(outcome, GatewayError):
        raise outcome
    events = _late_events(wait, render, render_error, heartbeat_seconds) if outcome is None else render(outcome)
    return Response(events, content_type=CONTENT_TYPE, headers=_HEADERS)


def _late_events(
    wait: Wait[Result],
    render: Callable[[Result], Iterable[bytes]],
    render_error: Callable[[GatewayError], bytes],
    heartbeat_seconds: float,
) -> Iterator[bytes]:
    outcome = None
    while outcome is None:
        yield HEARTBEAT  # the first one carries the head, which the worker sends with the first part of the body
        outcome = wait(heartbeat_seconds)
    if isinstance(outcome, GatewayError):
        yield render_error(outcome)
    else:
        yield from render(outcome)
