"""`Call`: one call that this process makes, with what becomes of it."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from app.accounts.api_key import Caller
from app.accounts.receipt import Receipt
from app.cancellation import Cancellation
from app.services.image_request import ImageRequest, ImageResult
from app.spooling.json_writer import JsonBody
from app.tasks.request_digest import key_digest, request_digest
from app.tasks.task import Task

# After a shorter wait in the queue a call is sent without a look at its connection, so that a caller that has closed
# its sending side only is served.
SHORT_WAIT_MS = 10


@dataclass
class Call:
    """A validated request, and the connection that waits for its answer.

    `idempotency_key` is the caller's own, `retry_count` how often its SDK has tried before. `is_gone` says whether the
    connection is closed, and `cancellation` ends the wait for a turn. The last fields change while the call is made;
    `lock` guards `is_stored` and `is_over`.
    `may_be_stored` is True if it is unknown whether writing the task has taken effect. `document` is the response, and
    `body` its JSON.
    """

    caller: Caller
    request: ImageRequest
    operation: str
    request_id: str
    receipt: Receipt
    idempotency_key: str | None = None
    retry_count: int = 0
    is_async: bool = False
    is_gone: Callable[[], bool] = lambda: False

    id: str = field(default_factory=lambda: secrets.token_hex(16))
    attendant: str = field(default_factory=lambda: secrets.token_hex(16))
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    started: float = field(default_factory=time.monotonic)
    cancellation: Cancellation = field(default_factory=Cancellation)
    lock: threading.Lock = field(default_factory=threading.Lock)
    is_stored: bool = False
    may_be_stored: bool = False
    is_over: bool = False
    is_kept: bool = False
    was_sent: bool = False
    result: ImageResult | None = None
    document: Mapping[str, Any] | None = None
    body: JsonBody | None = None

    @property
    def is_attended(self) -> bool:
        """Whether the connection that began the call still waits."""
        return not self.is_async and not self.is_gone()

    @property
    def must_be_stored(self) -> bool:
        """Whether the answer may be asked for again, whoever takes it now."""
        return self.is_async or self.idempotency_key is not None

    @cached_property
    def digest(self) -> str:
        """Computed when it is needed first: a plain call that nobody joins needs none."""
        return request_digest(self.operation, self.request)

    @property
    def task(self) -> Task:
        """The task as it is to be stored now."""
        key = self.idempotency_key
        return Task(
            id=self.id,
            caller=self.caller.fingerprint,
            operation=self.operation,
            request_digest=self.digest,
            created_at=self.created_at,
            idempotency_key=key_digest(self.caller.fingerprint, key) if key is not None else None,
            is_async=self.is_async,
            state="in_progress" if self.was_sent else "queued",
        )

    @property
    def store_attendant(self) -> str | None:
        """The connection as the store is to know it."""
        return self.attendant if self.is_attended else None
