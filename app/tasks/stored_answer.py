"""Reads the answer of a task that has ended: its body, or its error."""

from __future__ import annotations

import json
from collections.abc import Mapping

from app.errors import AnswerExpired, GatewayError, TaskNotFound
from app.tasks.body import AnswerMissing, Body
from app.tasks.task import Task, TaskStore


class StoredError(GatewayError):
    """The error of an earlier call, with its status, message and headers."""

    def __init__(self, task: Task, envelope: Mapping[str, Mapping[str, str | None]]) -> None:
        error = envelope["error"]
        super().__init__(error["message"], param=error["param"], code=error["code"])
        self.http_status = task.http_status or 500
        self._headers = dict(task.headers or {})

    def headers(self) -> dict[str, str]:
        return self._headers


def stored_body(store: TaskStore, task: Task) -> Body:
    """The body of a success. Raises the task's error, or `AnswerExpired`."""
    try:
        body = store.body(task.id)
    except AnswerMissing:
        raise AnswerExpired from None
    if task.state == "failed":
        raise StoredError(task, json.loads(b"".join(body)))
    return body


def ended_task(store: TaskStore, task: Task) -> Task | None:
    """The task as it is now; None while it runs. Raises `TaskNotFound` if it is gone."""
    found = store.find(task.caller, task.id)
    if found is None:
        raise TaskNotFound
    return None if found.is_running else found
