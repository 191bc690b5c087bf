"""`AnswerKeeper`: writes the answers of calls to the store, or to the journal while the store is unavailable."""

from __future__ import annotations

import logging

from app.errors import AnswerNotStored, GatewayError, OutcomeUnknown
from app.tasks.answer_journal import AnswerJournal
from app.tasks.body import BytesBody
from app.tasks.call import Call
from app.tasks.supervisor import Supervisor
from app.tasks.task import Answer, BodyTooLarge, TaskStore, error_answer

log = logging.getLogger(__name__)


class AnswerKeeper:
    def __init__(self, store: TaskStore, journal: AnswerJournal, supervisor: Supervisor) -> None:
        self._store = store
        self._journal = journal
        self._supervisor = supervisor

    def keep(self, call: Call) -> None:
        """Write the answer of a success. Raises `AnswerNotStored` if that fails and nobody else has the answer.

        Otherwise the caller has it, and a replay of its idempotency key ends as `outcome_unknown`.
        """
        if call.body is None or call.is_kept:
            return
        call.is_kept = self._write(call, success_of(call), keep=True)
        if call.is_kept:
            return
        if call.is_stored:  # those who wait for it, and its key, must not wait until the task is taken for lost
            self.fail(call, OutcomeUnknown(), keep=True)
        if not call.is_attended:
            raise AnswerNotStored

    def fail(self, call: Call, error: GatewayError, *, keep: bool) -> None:
        """Write an error. Never raises."""
        self._write(call, error_answer(error), keep=keep)

    def _write(self, call: Call, answer: Answer, *, keep: bool) -> bool:
        """Whether the answer is durable. Never raises."""
        try:
            with call.lock:
                self._store.finish(call.task, answer, keep=keep)
                call.is_stored = True
        except BodyTooLarge:  # the journal could never be replayed
            log.critical("Answer larger than AMUX_ANSWER_BYTES", extra={"request_id": call.request_id})
            return False
        except Exception as error:
            log.warning("Answer not stored: %s", type(error).__name__, extra={"request_id": call.request_id})
            return self._write_to_journal(call, answer, keep=keep)
        self._supervisor.notify(call.id)
        return True

    def _write_to_journal(self, call: Call, answer: Answer, *, keep: bool) -> bool:
        try:
            self._journal.add(call.task, answer, keep=keep)
        except Exception as error:
            log.critical("Answer lost: %s", type(error).__name__, extra={"request_id": call.request_id})
            return False
        return True


def success_of(call: Call) -> Answer:
    """The answer of a call that has its images."""
    headers = {}
    if call.result and call.result.image_store_failed:
        headers["x-amux-image-store"] = "unavailable"
    if call.result and call.result.trace_id:
        headers["x-minimax-trace-id"] = call.result.trace_id
    return Answer(200, call.body or BytesBody(b"{}"), headers)
