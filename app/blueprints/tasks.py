"""`GET /v1/images/tasks`, `GET` and `DELETE /v1/images/tasks/{id}`: tasks, their results, and their withdrawal."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from flask import Blueprint, Response, jsonify
from flask.typing import ResponseReturnValue

from app.delivery.async_task import TASKS_PATH
from app.errors import TaskNotFound, TaskNotWithdrawn
from app.tasks.body import Body
from app.tasks.stored_answer import StoredError, stored_body
from app.tasks.task import Task, TaskStore
from app.tasks.task_service import TaskService
from app.web.query import number
from app.web.request_context import current_context

MAX_WAIT_SECONDS = 60
MAX_LISTED = 100
DEFAULT_LISTED = 20
RETRY_AFTER_SECONDS = 5
# Those of the call, not of the response that tells of it.
ANSWER_HEADERS = ("x-minimax-trace-id", "x-amux-image-store")

_ID_PATTERN = re.compile("[0-9a-f]{32}", re.ASCII)


def create_tasks_blueprint(tasks: TaskService, authenticate: Callable[[], None]) -> Blueprint:
    blueprint = Blueprint("tasks", __name__, url_prefix=TASKS_PATH)
    blueprint.before_request(authenticate)
    blueprint.after_request(_forbid_caching)

    @blueprint.get("")
    def list_tasks() -> ResponseReturnValue:
        """The caller's newest tasks, without their results."""
        limit = number("limit", DEFAULT_LISTED, 1, MAX_LISTED)
        found = tasks.store.newest(current_context().known_caller.fingerprint, limit)
        return jsonify({"object": "list", "data": [_fields(task) for task in found]})

    @blueprint.get("/<task_id>")
    def show_task(task_id: str) -> ResponseReturnValue:
        """One task, with its result or error. With `?wait=20` the response waits as long for the task to end."""
        seconds = number("wait", 0, 0, MAX_WAIT_SECONDS)
        task = _find(tasks.store, task_id)
        if task.is_running and seconds:
            tasks.supervisor.wait(task.id, seconds)
            task = _find(tasks.store, task_id)
        return _running(task) if task.is_running else _ended(task, tasks.store)

    @blueprint.delete("/<task_id>")
    def withdraw_task(task_id: str) -> ResponseReturnValue:
        """Withdraw a task that still waits for its turn: nothing is sent or charged."""
        task = _find(tasks.store, task_id)
        if not tasks.withdraw(task):
            raise TaskNotWithdrawn
        return jsonify({"id": task.id, "object": "image.task", "deleted": True})

    return blueprint


def _find(store: TaskStore, task_id: str) -> Task:
    is_id = _ID_PATTERN.fullmatch(task_id)
    task = store.find(current_context().known_caller.fingerprint, task_id) if is_id else None
    if task is None:
        raise TaskNotFound
    return task


def _forbid_caching(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    return response


def _running(task: Task) -> Response:
    response = jsonify(_fields(task))
    response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


def _ended(task: Task, store: TaskStore) -> Response:
    context = current_context()
    context.taken = "task"
    headers = task.headers or {}
    context.answer_headers = {name: headers[name] for name in ANSWER_HEADERS if name in headers}
    try:
        return _with_result(task, stored_body(store, task))
    except StoredError as error:
        details = error.envelope()["error"] | {"http_status": error.http_status}
        return jsonify(_fields(task) | {"error": details})


def _fields(task: Task) -> dict[str, Any]:
    created = int(task.created_at.timestamp())
    return {"id": task.id, "object": "image.task", "status": task.state, "created": created}


def _with_result(task: Task, body: Body) -> Response:
    """The task with the stored response in it, which is copied in chunks."""
    head = json.dumps(_fields(task), separators=(",", ":"))[:-1].encode() + b',"result":'

    def chunks() -> Iterator[bytes]:
        yield head
        yield from body
        yield b"}"

    response = Response(chunks(), content_type="application/json")
    response.content_length = len(head) + len(body) + 1
    if close := getattr(body, "close", None):
        response.call_on_close(close)  # a HEAD request reads nothing of it
    return response
