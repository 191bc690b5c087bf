"""Supervisor: what one worker does for its tasks in the background.

It registers the calls that last, so that retries may join them, shows that the worker is alive, wakes those who wait
for an answer, replays the journal and sweeps the store. All of it is one thread.
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
from app.tasks.task import TaskStore

log = logging.getLogger(__name__)

# In seconds: the age at which a call is registered, and the intervals of the thread.
REGISTER_SECONDS = 0.5  # MiniMax takes 5 s or more; a quicker call is never written
TICK_SECONDS = 0.25
IDLE_SECONDS = 1.0  # instead of the tick, while there are neither calls nor waiters
BEAT_SECONDS = 2.0
SWEEP_SECONDS = 5.0
OUTAGE_SECONDS = 6.0  # after a failure of the store, in which no worker is taken for dead
STALL_SECONDS = 4.0  # between two rounds of the thread: the disk, the machine or its clock was disturbed


class Supervisor:
    """Safe for threads. Its own thread starts with `start`, which must come after the fork."""

    def __init__(self, store: TaskStore, journal: AnswerJournal) -> None:
        self._store = store
        self._journal = journal
        self._calls: dict[str, Call] = {}
        self._waiters: dict[str, list[threading.Event]] = {}
        self._unwanted: list[str] = []
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._is_idle = False
        self._thread: threading.Thread | None = None
        # A start counts as an outage: the other workers of the instance have not shown that they are alive yet.
        self._failed_at = time.monotonic()

    def start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="task-supervisor", daemon=True)
                self._thread.start()

    def add(self, call: Call) -> None:
        """The call is being made."""
        self._calls[call.id] = call
        if self._is_idle:
            self._wake.set()

    def remove(self, call: Call) -> None:
        """The call is over."""
        self._calls.pop(call.id, None)

    def notify(self, task_id: str) -> None:
        """The task has an answer: wake those who wait for it in this process. Others are woken by the poll."""
        for waiter in self._waiters.get(task_id, ()):
            waiter.set()

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

    def forget(self, task_id: str) -> None:
        """Remove a task that may have been written although the store said it was unavailable."""
        self._unwanted.append(task_id)

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
            _Periodic(BEAT_SECONDS, self._remove_unwanted),
            _Periodic(SWEEP_SECONDS, self._sweep),
        )
        round_at = time.time()
        while True:
            self._wake.clear()
            round_at = self._note_stall(round_at)
            for each in periodic:
                self._run_one(each)
            self._wake.wait(self._seconds_until_next())

    def _seconds_until_next(self) -> float:
        self._is_idle = True  # before the look: a call that is added after it sets the event
        self._is_idle = not (self._calls or self._waiters)
        return IDLE_SECONDS if self._is_idle else TICK_SECONDS

    def _note_stall(self, last: float) -> float:
        """The wall clock, by which beats are compared. A stall is an outage: other workers could not beat either."""
        now = time.time()
        if now > last + STALL_SECONDS:
            self._failed_at = time.monotonic()
        return now

    def _run_one(self, each: _Periodic) -> None:
        try:
            each.run_if_due()
        except DatabaseUnavailable:
            self._failed_at = time.monotonic()
        except Exception:  # the thread must survive any failure: nothing else wakes those who wait
            log.exception("Task supervision failed")

    def _sweep(self) -> None:
        self._journal.replay(self._store)
        # After an outage of the store all workers seem dead until they have beaten again.
        if time.monotonic() > self._failed_at + OUTAGE_SECONDS:
            self._store.sweep()

    def _remove_unwanted(self) -> None:
        while self._unwanted:
            self._store.discard(self._unwanted[0])
            self._unwanted.pop(0)

    def _poll(self) -> None:
        for task_id in self._store.ended(list(self._waiters)) if self._waiters else ():
            self.notify(task_id)

    def _register_old(self) -> None:
        before = time.monotonic() - REGISTER_SECONDS
        # One that has its answer is left out: its lock may be held while a large body is written, and a worker that
        # does not beat meanwhile would be taken for dead.
        calls = [call for call in list(self._calls.values()) if not call.is_stored and call.body is None]
        if old := [call for call in calls if call.started < before]:
            self.register(old)

    def _beat(self) -> None:
        if self._waiters or any(call.is_stored for call in list(self._calls.values())):
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
