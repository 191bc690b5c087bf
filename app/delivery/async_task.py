"""An asynchronous call: the response is 202 at once, and the answer is fetched from `/v1/images/tasks/{id}`."""

from __future__ import annotations

from collections.abc import Callable

from flask import Response, jsonify

from app.delivery.stream import set_outcome
from app.tasks.call import Call
from app.tasks.running_call import RunningCall
from app.tasks.task import Task
from app.tasks.task_service import TaskService
from app.web.request_context import RequestContext
from app.web.task_headers import prefers_async

TASKS_PATH = "/v1/images/tasks"


def respond_accepted(tasks: TaskService, call: Call, context: RequestContext, release: Callable[[], None]) -> Response:
    """Begin the call, and return 202. Raises what refuses it before: limits, balance, the store.

    `release` is called when the call has ended.
    """
    try:
        earlier = tasks.find_earlier(call)
        admission = tasks.admit(call) if earlier is None else None
    except BaseException:
        release()
        raise
    if earlier is not None:
        release()
        context.is_earlier, context.is_replay, context.taken = True, True, "idempotency_key"
        return accepted_response(earlier)
    running = RunningCall(tasks, call, admission=admission)
    context.is_deferred = True
    response = accepted_response(call.task)

    def end() -> None:
        context.taken = "task"
        set_outcome(context, running)
        tasks.close(call, taken=True)
        context.end(running.error.http_status if running.error else 200, len(response.data))
        release()

    running.when_ended(end)
    running.start()
    return response


def accepted_response(task: Task) -> Response:
    """202, the same whenever the request is repeated with its idempotency key, whatever has become of the task."""
    response = jsonify(
        {
            "id": task.id,
            "object": "image.task",
            "status": "in_progress",
            "created": int(task.created_at.timestamp()),
        }
    )
    response.status_code = 202
    response.headers["Location"] = f"{TASKS_PATH}/{task.id}"
    response.headers["Cache-Control"] = "no-store"
    if prefers_async():
        response.headers["Preference-Applied"] = "respond-async"
    return response
