"""The answer of an earlier call: for an idempotency key that was used before, and for a retry that joins its call."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

from flask import Response

from app.delivery.sent_body import SentBody
from app.delivery.stream import StreamTimes, stream_response
from app.errors import (
    AnswerExpired,
    AnswerUnavailable,
    CallerGone,
    DatabaseUnavailable,
    GatewayError,
    OutcomeUnknown,
    TaskNotFound,
    TaskWithdrawn,
)
from app.objects.store import ObjectsUnavailable
from app.spooling.json_reader import JsonReader
from app.spooling.spool import Spool
from app.tasks.body import AnswerMissing, Body
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
        self._error: GatewayError | None = None
        context.is_earlier = True
        context.is_replay = call.idempotency_key is not None
        context.taken = "idempotency_key" if context.is_replay else "retry"
        watch.when_gone(self._leave)

    def respond(self) -> Response:
        """The JSON response, once there is one. Raises the task's error, or `CallerGone`."""
        try:
            body = self._wait_for_body()
        except BaseException as error:
            self._fail(error)
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
                return None if body is None else read_document(body, spool)
            except GatewayError as error:
                self._error = error
                self._context.set_error(error)
                return error

        def close(sent: SentBody) -> None:
            spool.close()
            self._close(is_taken=sent.is_taken and not isinstance(self._error, AnswerUnavailable))
            self._context.end(self._error.http_status if self._error else 200, sent.bytes_sent)

        try:
            return stream_response(
                wait, self._call.request, self._task.operation, self._context, times, self._watch.is_gone, close
            )
        except BaseException as error:
            spool.close()
            self._fail(error)
            raise

    def _wait_for_body(self) -> Body:
        while True:
            if body := self._wait(POLL_SECONDS):
                return body

    def _wait(self, seconds: float) -> Body | None:
        """The body, or None if `seconds` have passed."""
        try:
            return self._look(seconds)
        except DatabaseUnavailable:
            raise AnswerUnavailable from None

    def _look(self, seconds: float) -> Body | None:
        self._tasks.supervisor.wait(self._task.id, seconds, self._wake)
        if self._watch.is_gone():
            raise CallerGone("The caller disconnected while it waited for an earlier call.")
        try:
            ended = ended_task(self._tasks.store, self._task)
        except TaskNotFound:  # it was withdrawn before it was sent
            raise TaskWithdrawn from None
        if ended is not None:
            body = stored_body(self._tasks.store, ended)
            self._context.answer_headers = dict(ended.headers or {})  # not where the body cannot be read
            return body
        if time.monotonic() >= self._give_up:
            raise OutcomeUnknown
        return None

    def _fail(self, error: BaseException) -> None:
        """The response is an error. It is the answer, unless that could not be read."""
        self._close(is_taken=not (self._watch.is_gone() or isinstance(error, AnswerUnavailable)))

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
    """The document of a stored body, with its large images in `spool`.

    Raises `AnswerExpired`, `AnswerUnavailable` or `SpoolFull`.
    """
    reader = JsonReader(spool)
    try:
        for chunk in body:
            reader.feed(chunk)
    except AnswerMissing:
        raise AnswerExpired from None
    except (DatabaseUnavailable, ObjectsUnavailable):
        raise AnswerUnavailable from None
    document: dict[str, Any] = reader.read(json.loads)
    return document
