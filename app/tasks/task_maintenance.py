"""`TaskMaintenance`: replays the journal of answers, repeats writes that an outage prevented, and sweeps the store.

It is a thread beside the supervisor's, because its work may take long: a worker that does not beat meanwhile would be
taken for dead by the others.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from functools import partial

from app.errors import DatabaseUnavailable
from app.tasks.answer_journal import AnswerJournal
from app.tasks.outages import Outages
from app.tasks.task import TaskStore

log = logging.getLogger(__name__)

INTERVAL_SECONDS = 5.0
RETRY_SECONDS = 2.0  # instead of the interval, while there are writes to be repeated
MAX_WRITES = 10_000  # the oldest are dropped; the sweep fails their tasks once they are older than any call


class TaskMaintenance:
    """Safe for threads. Every worker runs it; several may run at once."""

    def __init__(self, store: TaskStore, journal: AnswerJournal, outages: Outages) -> None:
        self._store = store
        self._journal = journal
        self._outages = outages
        self._writes: deque[Callable[[], object]] = deque(maxlen=MAX_WRITES)

    def start(self) -> None:
        """Run every `INTERVAL_SECONDS` in a daemon thread of this process."""
        threading.Thread(target=self._run_forever, name="task-maintenance", daemon=True).start()

    @property
    def has_writes(self) -> bool:
        """Whether writes are still to be repeated."""
        return bool(self._writes)

    def repeat(self, write: Callable[[], object]) -> None:
        """Call `write` once the store is available. It may have taken effect although the store said it was not."""
        self._writes.append(write)

    def forget(self, task_id: str) -> None:
        """Remove a task that may have been written although the store said it was unavailable."""
        self.repeat(partial(self._store.discard, task_id))

    def run(self) -> None:
        """Raises `DatabaseUnavailable`."""
        self._repeat_writes()
        self._journal.replay(self._store)
        if self._outages.are_over():
            self._store.sweep()

    def _repeat_writes(self) -> None:
        while self._writes:
            write = self._writes.popleft()
            try:
                write()
            except DatabaseUnavailable:
                self._writes.appendleft(write)
                raise

    def _run_forever(self) -> None:
        pause = threading.Event()
        while True:
            try:
                self.run()
            except DatabaseUnavailable:
                self._outages.store_failed()
            except Exception:  # the thread must survive any failure: nothing else fails the tasks of dead workers
                log.exception("Task maintenance failed")
            pause.wait(RETRY_SECONDS if self._writes else INTERVAL_SECONDS)
