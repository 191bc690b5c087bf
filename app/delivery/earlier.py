"""The answer of an earlier call: for an idempotency key that was used before, and for a retry that joins its call."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

from flask import Response

from app.delivery.sent_body import SentBody
from app.delivery.stream import StreamTimes, stream_response
from app.errors import CallerGone, GatewayError, OutcomeUnknown, TaskNotFound, TaskWithdrawn
from app.spooling.json_reader import JsonReader
from app.spooling.spool import Spool
from app.tasks.body import Body
from app.tasks.call import Call
from app.tasks.stored_answer import ended_task, stored_body
from app.tasks.task import Task
from app.tasks.task_service import TaskService
from app.web.client_disconnect import ClientWatch
from app.web.request_context import RequestContext

POLL_SECONDS = 30.0  # after which a waiting caller looks at the store itself


class EarlierAnswer:
    """Waits for a task that another request began. This connection attends it."""

    def __init__(
        self,
        tasks: TaskService,
        task: Task,
        call: Call,
        context: RequestContext,
        watch: ClientWatch,
        max_seconds: float,
    ) -> None:
        """`max_seconds` is longer than any call lasts."""
        self._tasks = tasks
        self._task = task
        self._call = call
        self._context = context
        self._watch = watch
        self._give_up = time.monotonic() + max_seconds
        self._wake = threading.Event()
        self._http_status = 200
        context.is_earlier = True
        context.is_replay = call.idempotency_key is not None
        context.taken = "idempotency_key" if context.is_replay else "retry"
        watch.when_gone(self._leave)

    def respond(self) -> Response:
        """The JSON response, once there is one. Raises the task's error, or `CallerGone`."""
        try:
            body = self._wait_for_body()
        except BaseException:
            self._close(is_taken=not self._watch.is_gone())
            raise
        sent = SentBody(body, self._watch.is_gone)
        response = Response(sent, content_type="application/json")
        response.content_length = len(body)
        response.call_on_close(lambda: self._close(is_taken=sent.is_taken))
        return response

    def respond_as_stream(self, times: StreamTimes, spool: Spool) -> Response:
        """The stream of the answer. Large images of it are read into `spool`, which is closed at the end."""

        def wait(seconds: float) -> dict[str, Any] | GatewayError | None:
            try:
                body = self._wait(seconds)
            except GatewayError as error:
                self._context.set_error(error)
                self._http_status = error.http_status
                return error
            return None if body is None else read_document(body, spool)

        def close(sent: SentBody) -> None:
            spool.close()
            self._close(is_taken=sent.is_taken)
            self._context.end(self._http_status, sent.bytes_sent)

        try:
            return stream_response(
                wait, self._call.request, self._task.operation, self._context, times, self._watch.is_gone, close
            )
        except BaseException:
            spool.close()
            self._close(is_taken=not self._watch.is_gone())
            raise

    def _wait_for_body(self) -> Body:
        while True:
            if body := self._wait(POLL_SECONDS):
                return body

    def _wait(self, seconds: float) -> Body | None:
        """The body, or None if `seconds` have passed."""
        self._tasks.supervisor.wait(self._task.id, seconds, self._wake)
        if self._watch.is_gone():
            raise CallerGone("The caller disconnected while it waited for an earlier call.")
        try:
            ended = ended_task(self._tasks.store, self._task)
        except TaskNotFound:  # it was withdrawn before it was sent
            raise TaskWithdrawn from None
        if ended is not None:
            self._context.answer_headers = dict(ended.headers or {})
            return stored_body(self._tasks.store, ended)
        if time.monotonic() >= self._give_up:
            raise OutcomeUnknown
        return None

    def _leave(self) -> None:
        self._tasks.leave_earlier(self._task, self._call.attendant)
        self._wake.set()

    def _close(self, *, is_taken: bool) -> None:
        self._watch.stop()
        if is_taken:
            self._tasks.take(self._task, self._call.attendant)
        else:
            self._context.taken = "nobody"
            self._tasks.leave_earlier(self._task, self._call.attendant)


def read_document(body: Body, spool: Spool) -> dict[str, Any]:
    """The document of a stored body, with its large images in `spool`."""
    reader = JsonReader(spool)
    for chunk in body:
        reader.feed(chunk)
    document: dict[str, Any] = reader.read(json.loads)
    return document
