"""`TaskService`: makes calls as tasks, and finds the earlier task whose answer a request takes.

Order of one call: its row is written before it is sent, its answer before it is charged. A process that is killed in
between leaves a task that fails as `outcome_unknown`, and never one that is sent twice.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from functools import partial

from app.errors import (
    CallerGone,
    DatabaseUnavailable,
    GatewayError,
    IdempotencyKeyReused,
    OutcomeUnknown,
    TaskWithdrawn,
    UpstreamError,
)
from app.services.image_request import ImageResult
from app.services.image_service import ImageService
from app.services.response import to_openai
from app.spooling.json_writer import JsonBody
from app.tasks.answer_journal import AnswerJournal
from app.tasks.answer_keeper import AnswerKeeper
from app.tasks.call import SHORT_WAIT_MS, Call
from app.tasks.supervisor import Supervisor
from app.tasks.task import Task, TaskStore, error_answer

log = logging.getLogger(__name__)

CLAIM_PAUSE_SECONDS = 0.3  # a caller's leaving is written within milliseconds


class TaskService:
    """Safe for threads. `store` and `supervisor` are public for those who fetch answers."""

    def __init__(
        self,
        images: ImageService,
        store: TaskStore,
        journal: AnswerJournal,
        supervisor: Supervisor,
        *,
        join_retries: bool,
    ) -> None:
        self._images = images
        self.store = store
        self.supervisor = supervisor
        self._keeper = AnswerKeeper(store, journal, supervisor)
        self._join_retries = join_retries

    def find_earlier(self, call: Call) -> Task | None:
        """The task whose answer `call` takes; None if the call is to be made. `call` attends it, unless it is async.

        Raises `IdempotencyKeyReused`, `RateLimited` or `DatabaseUnavailable`.
        """
        if call.idempotency_key is not None:
            return self._begin(call)
        if call.is_async:
            self._add(call, call.task)
            call.is_stored = True
        elif call.retry_count and self._join_retries:
            return self._claim(call)
        return None

    def admit(self, call: Call) -> ExitStack:
        """Make the checks that come before the answer 202, after `find_earlier`. Raises `GatewayError`.

        The call is in flight until the stack is closed.
        """
        try:
            with ExitStack() as stack:
                stack.enter_context(self._images.admit(call.caller, call.request, call.receipt))
                self._images.check_balance(call.caller, call.request)
                return stack.pop_all()
        except GatewayError as error:
            self._cancel(call, error)
            raise

    def run(self, call: Call, *, is_admitted: bool = False) -> ImageResult:
        """Make the call. Afterwards `call.body` is the response. Raises `GatewayError`."""
        self.supervisor.add(call)
        try:
            with nullcontext() if is_admitted else self._images.admit(call.caller, call.request, call.receipt):
                return self._images.generate(
                    call.caller,
                    call.request,
                    call.request_id,
                    call.receipt,
                    _CallProgress(self.store, self._keeper, call),
                )
        except GatewayError as error:
            self._fail(call, error)
            raise
        except Exception:
            self._fail(call, OutcomeUnknown())
            raise

    def close(self, call: Call, *, taken: bool) -> None:
        """The connection that began the call is done; `taken` says whether it has the whole answer. Never raises."""
        try:
            if call.body is not None:
                self._close(call, taken=taken)
        except Exception:
            log.exception("Task not closed", extra={"request_id": call.request_id})
        self._end(call)

    def leave(self, call: Call) -> None:
        """The caller has disconnected: a retry may now join the call. Never raises."""

        def leave() -> None:
            if not self.supervisor.register([call]):
                self.store.leave(call.id, call.attendant)

        self._write(leave)

    def take(self, task: Task, attendant: str) -> None:
        """The connection `attendant` has taken the answer of an earlier call. Never raises."""
        self._write(partial(self.store.take, task.id, attendant))

    def withdraw(self, task: Task) -> bool:
        """Withdraw a task that was not sent, and end its wait for a turn. False if it was sent, or somebody waits.

        Raises `DatabaseUnavailable`.
        """
        is_withdrawn = self.store.withdraw(task.id)
        if is_withdrawn:
            self.supervisor.notify(task.id)
        return is_withdrawn

    def leave_earlier(self, task: Task, attendant: str) -> None:
        """The connection `attendant` is gone before it has taken the answer of an earlier call. Never raises."""
        self._write(partial(self.store.leave, task.id, attendant))

    def _write(self, write: Callable[[], object]) -> None:
        """Now, or once the store is available."""
        try:
            write()
        except DatabaseUnavailable:
            self.supervisor.maintenance.repeat(write)

    def _begin(self, call: Call) -> Task | None:
        task = call.task
        while True:
            existing = self._add(call, task)
            if existing is None:
                call.is_stored = True
                return None
            if existing.request_digest != task.request_digest:
                raise IdempotencyKeyReused(param="Idempotency-Key")
            self._images.count_replay(call.caller, call.receipt)
            if call.is_async:  # it asks for the task, and does not wait for the answer
                return existing
            if attended := self.store.attend(existing.id, call.attendant):
                return attended

    def _add(self, call: Call, task: Task) -> Task | None:
        try:
            return self.store.begin(task, call.store_attendant)
        except DatabaseUnavailable:
            self.supervisor.maintenance.forget(call.id)
            raise

    def _cancel(self, call: Call, error: GatewayError) -> None:
        """The call is refused before it began: its idempotency key is free again, and those who wait get the error."""
        try:
            if not self.store.discard(call.id):
                self._keeper.fail(call, error, keep=False)
        except DatabaseUnavailable:
            self.supervisor.maintenance.forget(call.id)

    def _claim(self, call: Call) -> Task | None:
        """The call that a retry joins. A caller that has just left may not be noted yet, so it is looked for twice."""
        for pause in (0.0, CLAIM_PAUSE_SECONDS):
            time.sleep(pause)
            if task := self.store.claim(call.caller.fingerprint, call.digest, call.retry_count, call.attendant):
                try:
                    self._images.count_replay(call.caller, call.receipt)
                except GatewayError:
                    self.leave_earlier(task, call.attendant)
                    raise
                return task
        return None

    def _fail(self, call: Call, error: GatewayError) -> None:
        keep = isinstance(error, UpstreamError) and (error.outcome_unknown or error.is_final)
        if call.is_stored or (keep and not call.is_attended):
            self._keeper.fail(call, error, keep=keep)
        self._end(call)

    def _close(self, call: Call, *, taken: bool) -> None:
        if not taken:
            self._keeper.keep(call)
            self.leave(call)
            return
        with call.lock:
            call.is_over = True  # so that a caller's leaving, which may be noted at this moment, does not register it
        if not call.is_stored or call.must_be_stored or call.is_kept:
            return
        try:
            is_joined = not self.store.discard(call.id)
        except DatabaseUnavailable:
            self.supervisor.maintenance.repeat(partial(self._discard_late, call.task))
        else:
            if is_joined:
                self._keeper.keep(call)

    def _discard_late(self, task: Task) -> None:
        """A call whose answer was taken, and is gone: a retry that has joined it meanwhile has nothing to take."""
        if not self.store.discard(task.id):
            self.store.finish(task, error_answer(OutcomeUnknown()), keep=True)

    def _end(self, call: Call) -> None:
        with call.lock:
            call.is_over = True
        self.supervisor.remove(call)
        if call.may_be_stored and not call.is_stored:
            self.supervisor.maintenance.forget(call.id)
        if call.result is not None:
            call.result.close()


class _CallProgress:
    """Implements `app.services.image_service.Progress` for one task."""

    def __init__(self, store: TaskStore, keeper: AnswerKeeper, call: Call) -> None:
        self._store = store
        self._keeper = keeper
        self._call = call
        self.cancellation = call.cancellation

    def turn_came(self) -> None:
        call = self._call
        waited = (call.receipt.queued_ms or 0) > SHORT_WAIT_MS
        if waited and not call.is_async and call.is_gone():
            with call.lock:
                if not call.is_stored or self._store.withdraw(call.id):
                    call.is_stored = False
                    raise CallerGone
        with call.lock:
            if call.is_stored and not self._store.start(call.id):
                raise TaskWithdrawn
            call.was_sent = True

    def generated(self, result: ImageResult) -> None:
        call = self._call
        call.result, call.document = result, to_openai(result, call.request, created=int(time.time()))
        call.body = JsonBody(call.document)
        if call.must_be_stored or not call.is_attended:
            self._keeper.keep(call)
