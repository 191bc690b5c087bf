"""`Task`, a call as the store has it, `Answer`, how it ended, and the `TaskStore` interface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from app.errors import GatewayError, UpstreamError
from app.tasks.body import Body, BytesBody

State = Literal["queued", "in_progress", "completed", "failed"]
RUNNING: tuple[State, ...] = ("queued", "in_progress")
JOIN_SECONDS = 600  # how old a call may be for a retry to join it (contract 7.2)


@dataclass(frozen=True)
class Answer:
    """The response to a call. `headers` are those that belong to the answer, not to a connection.

    `code` is that of the error, None for a success.
    """

    http_status: int
    body: Body
    headers: Mapping[str, str]
    code: str | None = None


def error_answer(error: GatewayError) -> Answer:
    headers = error.headers()
    if isinstance(error, UpstreamError) and error.trace_id:
        headers["x-minimax-trace-id"] = error.trace_id
    return Answer(error.http_status, BytesBody.of_document(error.envelope()), headers, error.code)


@dataclass(frozen=True)
class Task:
    """One call. Only its `caller`, the fingerprint of an API key, may see it.

    `operation` is `generations` or `edits`. `request_digest` is the same for the same request to the same operation.
    `idempotency_key` is a digest of the caller's key, None without one. While the state is `queued`, nothing has been
    sent to MiniMax. `http_status`, `code` and `headers` are those of the answer, once there is one.
    """

    id: str
    caller: str
    operation: str
    request_digest: str
    created_at: datetime
    idempotency_key: str | None = None
    is_async: bool = False
    state: State = "queued"
    http_status: int | None = None
    code: str | None = None
    headers: Mapping[str, str] | None = None

    @property
    def is_running(self) -> bool:
        return self.state in RUNNING

    @property
    def may_be_joined(self) -> bool:
        """Whether a retry without an idempotency key may take the answer."""
        return self.idempotency_key is None and not self.is_async


class BodyTooLarge(Exception):
    """The body alone exceeds what all answers may take: no later attempt stores it."""


class TaskStore(Protocol):
    """Tasks of all workers that share the store. All methods raise `DatabaseUnavailable`.

    An `attendant` is the id of the connection that waits for the task's answer; a task has at most one. A worker that
    does not `beat` is taken for dead after some seconds: its running tasks fail, and its connections attend nothing.
    """

    def begin(self, task: Task, attendant: str | None) -> Task | None:
        """Add a task; or return the one that has its idempotency key, and add nothing."""
        ...

    def register(self, tasks: Sequence[tuple[Task, str | None]]) -> None:
        """Add running calls, each with its attendant, so that retries may join them."""
        ...

    def start(self, task_id: str) -> bool:
        """Note that the task is about to be sent. False if it must not be: it was taken for dead, or withdrawn."""
        ...

    def finish(self, task: Task, answer: Answer, *, keep: bool) -> None:
        """Write the answer, also of a task that was not added before. Raises `BodyTooLarge`.

        Without `keep` the idempotency key is free again, and the answer lasts just long enough for those who wait; a
        task that is not there is not added.
        """
        ...

    def claim(self, caller: str, request_digest: str, retry_count: int, attendant: str) -> Task | None:
        """Attend the caller's newest task of this request that nobody has taken: see `Task.may_be_joined`.

        `retry_count` is 1 for an SDK's first retry.
        """
        ...

    def attend(self, task_id: str, attendant: str) -> Task | None:
        """Attend this task. None if it is gone."""
        ...

    def leave(self, task_id: str, attendant: str) -> None:
        """The connection is gone: somebody else may claim the task."""
        ...

    def withdraw(self, task_id: str) -> bool:
        """Remove a task that was not sent and that nobody attends. False if somebody does."""
        ...

    def discard(self, task_id: str) -> bool:
        """Remove a call whose connection has taken its answer. False if a retry has joined it."""
        ...

    def take(self, task_id: str, attendant: str) -> None:
        """The connection has taken the answer, which is kept all the same."""
        ...

    def find(self, caller: str, task_id: str) -> Task | None: ...

    def newest(self, caller: str, limit: int) -> Sequence[Task]: ...

    def ended(self, task_ids: Sequence[str]) -> Sequence[str]:
        """Those of the ids that have an answer, or that are gone."""
        ...

    def body(self, task_id: str) -> Body:
        """The body of the answer. Raises `AnswerMissing`."""
        ...

    def beat(self) -> None:
        """Note that this worker is alive."""
        ...

    def sweep(self) -> None:
        """Fail the tasks of dead workers, and remove expired tasks and bodies."""
        ...
