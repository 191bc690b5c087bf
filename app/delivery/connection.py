"""A plain call: the response is sent on the connection that began the call."""

from __future__ import annotations

from collections.abc import Callable

from flask import Response

from app.delivery.sent_body import SentBody
from app.tasks.call import Call
from app.tasks.task_service import TaskService
from app.web.client_disconnect import ClientWatch
from app.web.request_context import RequestContext


def respond_on_connection(
    tasks: TaskService, call: Call, context: RequestContext, watch: ClientWatch, release: Callable[[], None]
) -> Response:
    """Make the call in this thread, and return its response. Raises `GatewayError`.

    If the caller leaves, the call goes on, and a retry may take its answer. `release` is called when the response has
    ended: until then the answer may have to be stored, for which the request is read again.
    """
    watch.when_gone(lambda: tasks.leave(call))
    try:
        result = tasks.run(call)
    except BaseException:
        context.taken = "nobody" if watch.is_gone() else "connection"
        watch.stop()
        release()
        raise
    context.set_result(result)
    context.taken = "nobody" if watch.is_gone() else "connection"
    body = SentBody(call.body or (), watch.is_gone)

    def close() -> None:
        watch.stop()
        tasks.close(call, taken=body.is_taken)
        release()

    response = Response(body, content_type="application/json")
    response.content_length = len(call.body or b"")
    response.call_on_close(close)
    return response
