"""A stream: the call is made in a thread of its own, and its images are server-sent events."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flask import Response

from app.delivery.sent_body import SentBody
from app.errors import GatewayError
from app.services.events import Operation, drawn_size, error_event, image_events
from app.services.image_request import ImageRequest
from app.tasks.call import Call
from app.tasks.running_call import RunningCall
from app.tasks.task_service import TaskService
from app.web.client_disconnect import ClientWatch
from app.web.event_stream import event_stream_response
from app.web.request_context import RequestContext

Document = Mapping[str, Any]
# Waits for at most that many seconds; the document, the error, or None while the call runs.
Wait = Callable[[float], Document | GatewayError | None]

OPERATIONS: Mapping[str, Operation] = {"generations": "generation", "edits": "edit"}


@dataclass(frozen=True)
class StreamTimes:
    """In seconds: how long the head waits for the outcome, and how often a comment is sent after it."""

    head: float
    heartbeat: float


def respond_as_stream(
    tasks: TaskService,
    call: Call,
    context: RequestContext,
    watch: ClientWatch,
    times: StreamTimes,
    release: Callable[[], None],
) -> Response:
    """Begin the call, and return its stream. Raises the `GatewayError` of a call that fails before the head is sent.

    `release` is called when the call has ended, and the response too.
    """
    running = RunningCall(tasks, call)
    watch.when_gone(lambda: tasks.leave(call))
    running.start()

    def wait(seconds: float) -> Document | GatewayError | None:
        if not running.wait(seconds):
            return None
        if running.error is not None:
            return running.error
        return call.document

    def close(sent: SentBody) -> None:
        watch.stop()
        running.when_ended(lambda: end(sent))

    def end(sent: SentBody) -> None:
        context.taken = "stream" if sent.is_taken else "nobody"
        set_outcome(context, running)
        tasks.close(call, taken=sent.is_taken)
        context.end(running.error.http_status if running.error else 200, sent.bytes_sent)
        release()

    try:
        response = stream_response(wait, call.request, call.operation, context, times, watch.is_gone, close)
    except BaseException:
        context.taken = "nobody" if watch.is_gone() else "stream"
        watch.stop()
        release()
        raise
    if running.wait(0):
        set_outcome(context, running)  # for the head, which is not sent yet
    return response


def stream_response(
    wait: Wait,
    request: ImageRequest,
    operation: str,
    context: RequestContext,
    times: StreamTimes,
    is_gone: Callable[[], bool],
    close: Callable[[SentBody], None],
) -> Response:
    """The stream of whatever `wait` waits for. `close` is called at its end, and calls `context.end`.

    Raises the `GatewayError` of a call that fails before the head is sent; then `close` is not called.
    """

    def render(document: Document) -> Iterator[bytes]:
        return image_events(document, OPERATIONS[operation], drawn_size(request))

    response = event_stream_response(
        wait,
        render=render,
        render_error=lambda error: error_event(error.envelope()),
        head_seconds=times.head,
        heartbeat_seconds=times.heartbeat,
    )
    context.is_deferred = True
    body = SentBody(response.response, is_gone)  # type: ignore[arg-type]
    response.response = body
    response.call_on_close(lambda: close(body))
    return response


def set_outcome(context: RequestContext, running: RunningCall) -> None:
    """Note for the headers and the log how the call ended."""
    if running.error is not None:
        context.set_error(running.error)
    elif running.call.result is not None:
        context.set_result(running.call.result)
