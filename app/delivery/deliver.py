"""`Delivery`: chooses the way in which a caller takes the answer of its request."""

from __future__ import annotations

from collections.abc import Callable

from flask import Response

from app.delivery.async_task import respond_accepted
from app.delivery.connection import respond_on_connection
from app.delivery.earlier import EarlierAnswer
from app.delivery.stream import StreamTimes, respond_as_stream
from app.settings import Settings
from app.tasks.call import Call
from app.tasks.task_service import TaskService
from app.web.client_disconnect import watch_client
from app.web.concurrency_limit import hold_slot
from app.web.request_body import keep_spools, new_spool
from app.web.request_context import current_context

# Seconds past the queue and the deadline of a call, after which one that waits for an earlier call gives up.
WAIT_MARGIN_SECONDS = 60


class Delivery:
    def __init__(self, tasks: TaskService, settings: Settings) -> None:
        self._tasks = tasks
        self._times = StreamTimes(settings.stream_head_seconds, settings.stream_heartbeat_seconds)
        self._max_wait = settings.queue_seconds + settings.minimax_timeout_seconds + WAIT_MARGIN_SECONDS

    def respond(self, call: Call) -> Response:
        """The response to the current request. Raises `GatewayError`."""
        context = current_context()
        if call.is_async:
            return respond_accepted(self._tasks, call, context, _keep_request())
        watch = watch_client()
        call.is_gone = watch.is_gone
        try:
            task = self._tasks.find_earlier(call)
        except BaseException:
            watch.stop()
            raise
        if task is not None:
            return self._respond_earlier(EarlierAnswer(self._tasks, task, call, context, watch, self._max_wait), call)
        if call.request.stream:
            return respond_as_stream(self._tasks, call, context, watch, self._times, _keep_request())
        return respond_on_connection(self._tasks, call, context, watch, _keep_request())

    def _respond_earlier(self, answer: EarlierAnswer, call: Call) -> Response:
        if not call.request.stream:
            return answer.respond()
        spool = new_spool()
        keep_spools()
        return answer.respond_as_stream(self._times, spool)


def _keep_request() -> Callable[[], None]:
    """Keep the slot and the body of the request for a call that outlasts it. Returns what releases them."""
    slot, spools = hold_slot(), keep_spools()

    def release() -> None:
        slot.release()
        for spool in spools:
            spool.close()

    return release
