"""Supervisor: what one worker does for its tasks in the background.

It registers the calls that last, so that retries may join them, shows that the worker is alive, wakes those who wait
for an answer, and cancels the calls that were withdrawn. All of it is one thread, which does nothing that takes long.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack

from app.errors import DatabaseUnavailable
from app.tasks.answer_journal import AnswerJournal
from app.tasks.call import Call
from app.tasks.outages import Outages
from app.tasks.task import TaskStore
from app.tasks.task_maintenance import TaskMaintenance

log = logging.getLogger(__name__)

# In seconds: the age at which a call is registered, and the intervals of the thread.
REGISTER_SECONDS = 0.5  # MiniMax takes 5 s or more; a quicker call is never written
TICK_SECONDS = 0.25
IDLE_SECONDS = 1.0  # instead of the tick, while there are neither calls nor waiters
BEAT_SECONDS = 2.0


class Supervisor:
    """Safe for threads. Its own threads start with `start`, which must come after the fork."""

    def __init__(self, store: TaskStore, journal: AnswerJournal) -> None:
        self._store = store
        self._outages = Outages()
        self.maintenance = TaskMaintenance(store, journal, self._outages)
        self._calls: dict[str, Call] = {}
        self._waiters: dict[str, list[threading.Event]] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._is_idle = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="task-supervisor", daemon=True)
                self._thread.start()
                self.maintenance.start()

    def add(self, call: Call) -> None:
        """The call is being made."""
        self._calls[call.id] = call
        if self._is_idle:
            self._wake.set()

    def remove(self, call: Call) -> None:
        """The call is over."""
        self._calls.pop(call.id, None)

    def notify(self, task_id: str) -> None:
        """The task has an answer, or is gone: wake those who wait for it, and its call if that waits for its turn.

        Those of other processes learn it from the poll.
        """
        for waiter in self._waiters.get(task_id, ()):
            waiter.set()
        if call := self._calls.get(task_id):
            call.cancellation.cancel()

    def wait(self, task_id: str, seconds: float, until: threading.Event | None = None) -> None:
        """Wait until the task has an answer, for at most `seconds`, or until the event."""
        waiter = until or threading.Event()
        with self._lock:
            self._waiters.setdefault(task_id, []).append(waiter)
        self._wake.set()
        try:
            if self._store.ended([task_id]):  # it may have ended before the waiter was known
                return
            waiter.wait(seconds)
        finally:
            with self._lock:
                waiters = self._waiters[task_id]
                waiters.remove(waiter)
                if not waiters:
                    del self._waiters[task_id]

    def register(self, calls: Iterable[Call]) -> bool:
        """Write running calls to the store. Those that are there, or have ended, are left out: False if all are."""
        with ExitStack() as locks:
            chosen = []
            for call in calls:
                locks.enter_context(call.lock)
                if not call.is_stored and not call.is_over:
                    chosen.append(call)
            if chosen:
                self._register(chosen)
        return bool(chosen)

    def _register(self, calls: Sequence[Call]) -> None:
        try:
            self._store.register([(call.task, call.store_attendant) for call in calls])
        except DatabaseUnavailable:
            for call in calls:
                call.may_be_stored = True
            raise
        for call in calls:
            call.is_stored = True

    def _run(self) -> None:
        periodic = (
            _Periodic(TICK_SECONDS, self._poll),
            _Periodic(TICK_SECONDS, self._register_old),
            _Periodic(BEAT_SECONDS, self._beat),
        )
        while True:
            self._wake.clear()
            self._outages.round_begins()
            for each in periodic:
                self._run_one(each)
            self._wake.wait(self._seconds_until_next())

    def _seconds_until_next(self) -> float:
        self._is_idle = True  # before the look: a call that is added after it sets the event
        self._is_idle = not (self._calls or self._waiters)
        return IDLE_SECONDS if self._is_idle else TICK_SECONDS

    def _run_one(self, each: _Periodic) -> None:
        try:
            each.run_if_due()
        except DatabaseUnavailable:
            self._outages.store_failed()
        except Exception:  # the thread must survive any failure: nothing else wakes those who wait
            log.exception("Task supervision failed")

    def _poll(self) -> None:
        queued = [call.id for call in list(self._calls.values()) if call.is_async and not call.was_sent]
        for task_id in self._store.ended([*self._waiters, *queued]) if self._waiters or queued else ():
            self.notify(task_id)

    def _register_old(self) -> None:
        before = time.monotonic() - REGISTER_SECONDS
        # One that has its answer is left out: its lock may be held while a large body is written, and a worker that
        # does not beat meanwhile would be taken for dead.
        calls = [call for call in list(self._calls.values()) if not call.is_stored and call.body is None]
        if old := [call for call in calls if call.started < before]:
            self.register(old)

    def _beat(self) -> None:
        # While writes must be repeated, the tasks that they are about are not to be taken for those of a dead worker.
        if self._waiters or self.maintenance.has_writes or any(call.is_stored for call in list(self._calls.values())):
            self._store.beat()


class _Periodic:
    """Something to do every so many seconds."""

    def __init__(self, seconds: float, function: Callable[[], None]) -> None:
        self._seconds = seconds
        self._function = function
        self._due = 0.0

    def run_if_due(self) -> None:
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + self._seconds
            self._function()
