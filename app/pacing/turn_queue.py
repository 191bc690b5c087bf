"""Turn queue of one process: wakes the calls that wait when the store gives them their turn."""

from __future__ import annotations

import logging
import os
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from app import metrics
from app.cancellation import Cancellation
from app.pacing.store import Grant, PacerStore, QueueFull, StoreUnavailable, Ticket, Wait, WorkerForgotten

log = logging.getLogger(__name__)

GRANT_SECONDS = 1.0  # between a turn's being taken from the store and its waiter's waking
RETRY_SECONDS = 0.5  # until a store that could not be reached is asked again


@dataclass
class _Waiter:
    ticket: Ticket
    turn: threading.Event = field(default_factory=threading.Event)
    grant: Grant | None = None
    is_stopped: bool = False

    def wake(self, grant: Grant) -> None:
        self.grant = grant
        self.turn.set()


class QueueStopped(Exception):
    """The process is about to end, so no call may wait."""


class QueueCancelled(Exception):
    """The call was cancelled while it waited."""


class TurnQueue:
    def __init__(self, store: PacerStore, max_waiting: int, must_stop: Callable[[], bool] = lambda: False) -> None:
        """`max_waiting` bounds the calls of this instance that wait. While `must_stop()` is true, no call may wait."""
        self._must_stop = must_stop
        self._store = store
        self._max_waiting = max_waiting
        self._waiters: dict[str, _Waiter] = {}
        self._someone_waits = threading.Event()
        self._look = threading.Event()  # something has changed: turns are asked for at once
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._worker = ""

    def wait_for_turn(
        self,
        caller: str,
        seconds: float,
        excluded: frozenset[str] = frozenset(),
        cancellation: Cancellation | None = None,
    ) -> Grant | Wait:
        """A turn, or after `seconds`, or sooner where it cannot come in that time, how long it would have taken.

        A call that the upstream has rejected because of the keys `excluded` goes first. Raises `QueueFull`,
        `QueueStopped`, `QueueCancelled` or `StoreUnavailable`.
        """
        self._start()
        ticket = Ticket(uuid.uuid4().hex, caller, self._worker, excluded, urgent=bool(excluded))
        waiter = self._waiters[ticket.id] = _Waiter(ticket)
        try:
            found = self._store.request(ticket, self._max_waiting)
            if isinstance(found, Grant):
                return found
            if found.seconds is not None and found.seconds <= seconds:
                self._someone_waits.set()
                if cancellation is not None:
                    cancellation.when_cancelled(waiter.turn.set)
                with metrics.CALLS_WAITING.track_inprogress():
                    waiter.turn.wait(seconds)
            if waiter.grant is None:
                waiter.turn.clear()
                if not self._store.leave(ticket.id) and waiter.grant is None:
                    waiter.turn.wait(GRANT_SECONDS)  # it has been granted in this moment
            if waiter.grant is None and waiter.is_stopped:
                raise QueueStopped
            if waiter.grant is None and cancellation is not None and cancellation.is_cancelled:
                raise QueueCancelled
            return waiter.grant or found
        finally:
            self._waiters.pop(ticket.id, None)

    def give_back(self, grant: Grant) -> None:
        """The call of this turn was not begun: another one has it at once. Raises `StoreUnavailable`."""
        self._store.give_back(grant)
        self._look.set()

    def _start(self) -> None:
        """Start the thread. Not before the first call: a process forked after it would have none."""
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._worker = f"{os.getpid()}-{uuid.uuid4().hex}"
                    self._thread = threading.Thread(target=self._run, name="turn-queue", daemon=True)
                    self._thread.start()

    def _run(self) -> None:
        while True:
            self._someone_waits.wait()
            self._someone_waits.clear()
            while self._waiters:
                self._look.wait(self._next_turns())
                self._look.clear()
                if self._must_stop():
                    self._end_waiting(is_stopped=True)

    def _end_waiting(self, *, is_stopped: bool = False) -> None:
        for waiter in list(self._waiters.values()):
            waiter.is_stopped = is_stopped
            waiter.turn.set()

    def _next_turns(self) -> float:
        try:
            return self._give_turns()
        except StoreUnavailable:
            return RETRY_SECONDS
        except Exception:  # if this thread ended, no call would get a turn again
            log.exception("Turns not given")
            return RETRY_SECONDS

    def _give_turns(self) -> float:
        """Wake who has a turn now; the seconds until there may be another one."""
        try:
            grants, seconds = self._store.take(self._worker)
        except WorkerForgotten:
            self._request_again()
            return 0
        left = [grant for grant in grants if not self._wake(grant)]
        for grant in left:
            self._store.give_back(grant)
        if seconds is None:
            self._end_waiting()
        return RETRY_SECONDS if seconds is None else seconds

    def _wake(self, grant: Grant) -> bool:
        """Whether the call still waits."""
        waiter = self._waiters.get(grant.ticket_id)
        if waiter is None or waiter.grant is not None:
            return False
        waiter.wake(grant)
        return True

    def _request_again(self) -> None:
        for waiter in list(self._waiters.values()):
            try:
                found = self._store.request(waiter.ticket, self._max_waiting)
            except (QueueFull, StoreUnavailable):
                continue
            if isinstance(found, Grant) and not self._wake(found):
                self._store.give_back(found)
