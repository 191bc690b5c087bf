"""`RunningCall`: a call that is made in a thread of its own, so that its request may end or stream before it does."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack, nullcontext

from app.errors import GatewayError, OutcomeUnknown
from app.tasks.background import background_calls
from app.tasks.call import Call
from app.tasks.task_service import TaskService

log = logging.getLogger(__name__)


class RunningCall:
    """`error` is how the call failed, once it has ended; `call.body` is the response where it did not."""

    def __init__(self, tasks: TaskService, call: Call, *, admission: ExitStack | None = None) -> None:
        """`admission` is what `TaskService.admit` returned, for a call that was admitted before; it is closed."""
        self.call = call
        self.error: GatewayError | None = None
        self._tasks = tasks
        self._admission = admission
        self._ended = threading.Event()
        self._callbacks: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    def start(self) -> None:
        background_calls.start(self._run)

    def wait(self, seconds: float) -> bool:
        """Whether the call has ended within `seconds`."""
        return self._ended.wait(seconds)

    def when_ended(self, callback: Callable[[], None]) -> None:
        """Run `callback` once the call has ended, now if it has. It must not raise."""
        with self._lock:
            if not self._ended.is_set():
                self._callbacks.append(callback)
                return
        callback()

    def _run(self) -> None:
        try:
            with self._admission or nullcontext():  # a stack takes 600 bytes more while it waits
                self._tasks.run(self.call, is_admitted=self._admission is not None)
        except GatewayError as error:
            self.error = error
        except Exception as error:
            log.error("Unhandled exception", exc_info=error, extra={"request_id": self.call.request_id})
            self.error = OutcomeUnknown()
        with self._lock:
            self._ended.set()
        for callback in self._callbacks:
            callback()
