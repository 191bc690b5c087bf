"""Key pool: hands out an upstream key for a call, and records how the call went."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from app import metrics
from app.accounts.receipt import Receipt
from app.cancellation import Cancellation
from app.errors import MAX_RETRY_AFTER_SECONDS, ShuttingDown, TaskWithdrawn, UpstreamBusy, UpstreamError
from app.pacing.store import Grant, KeyState, PacerStore, QueueFull, RestReason, StoreUnavailable, Wait
from app.pacing.turn_queue import QueueCancelled, QueueStopped, TurnQueue

T = TypeVar("T")
log = logging.getLogger(__name__)

# Seconds of a key's first rest and of its longest one, by what the upstream said of it.
RESTS: Mapping[RestReason, tuple[float, float]] = {"rate": (60, 3600), "account": (300, 3600), "refused": (600, 600)}


@dataclass(frozen=True)
class UpstreamKey:
    """`secret` is sent upstream; `fingerprint` names the key in logs, metrics and commands.

    `rate` is how many calls the key may begin in a window, 0 for any number.
    """

    fingerprint: str
    secret: str = field(repr=False)
    rate: int = 0


class Turn:
    """The right to one call with an upstream key."""

    def __init__(self, pool: KeyPool, caller: str, grant: Grant, deadline: float, receipt: Receipt) -> None:
        self._pool = pool
        self._caller = caller
        self._deadline = deadline
        self._receipt = receipt
        self.grant: Grant | None = grant

    def call(self, send: Callable[[str], T]) -> T:
        """`send(secret)` with the key of this turn; where the upstream rejects the key, with another one.

        Each key is tried once. Only a rejection of the key itself is followed by another try, as then nothing has been
        drawn. Raises what `send` raised last, or `UpstreamBusy` if a key that may yet work has no turn in time.
        """
        tried: frozenset[str] = frozenset()
        while True:
            grant = self._use_grant()
            try:
                result = send(self._pool.secret(grant))
            except UpstreamError as error:
                self._pool.report(grant, error)
                tried |= {grant.fingerprint}
                if error.key_fault is None or not self._find_another(error, tried):
                    raise
            else:
                self._pool.report(grant, None)
                return result

    def _use_grant(self) -> Grant:
        grant, self.grant = self.grant, None
        if grant is None:
            raise RuntimeError("a turn is for one call")
        self._receipt.upstream_key = grant.fingerprint
        return grant

    def _find_another(self, error: UpstreamError, tried: frozenset[str]) -> bool:
        """Whether a key that has not been tried has a turn. Raises `UpstreamBusy` or `ShuttingDown`."""
        try:
            self.grant = self._pool.find_another(self._caller, self._deadline - time.monotonic(), tried)
        except UpstreamError:
            metrics.count_upstream_call(error.code)
            raise
        if self.grant is not None:  # else the access log counts it, as the outcome of the request
            metrics.count_upstream_call(error.code)
        return self.grant is not None


class KeyPool:
    """Implements `app.services.image_service.KeyPool`."""

    def __init__(
        self,
        keys: Sequence[UpstreamKey],
        store: PacerStore,
        error_of_code: Callable[[str], UpstreamError],
        *,
        queue_seconds: float,
        max_waiting: int,
        rests: Mapping[RestReason, tuple[float, float]] | None = RESTS,
        must_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """`error_of_code` makes the error of an upstream code; `rests` is None where no key ever rests.

        While `must_stop()` is true, no call may wait: the process is about to end.
        """
        self._secrets = {key.fingerprint: key.secret for key in keys}
        self._store = store
        self._queue = TurnQueue(store, max_waiting, must_stop)
        self._error_of_code = error_of_code
        self._queue_seconds = queue_seconds
        self._rests = rests

    @contextmanager
    def turn(self, caller: str, receipt: Receipt, cancellation: Cancellation) -> Iterator[Turn]:
        """A turn whose call is not begun goes back to the pool.

        Raises `UpstreamBusy` where no turn comes in time, the upstream's own error where all keys rest because of it,
        `TaskWithdrawn` for a call that is cancelled while it waits, and `ShuttingDown`.
        """
        started = time.monotonic()
        grant = self._first_grant(caller, cancellation)
        waited = time.monotonic() - started
        metrics.QUEUE_SECONDS.observe(waited)
        receipt.queued_ms = round(waited * 1000)
        turn = Turn(self, caller, grant, started + self._queue_seconds, receipt)
        try:
            yield turn
        finally:
            if turn.grant is not None:
                self._give_back(turn.grant)

    def secret(self, grant: Grant) -> str:
        return self._secrets[grant.fingerprint]

    def key_states(self) -> Sequence[KeyState]:
        return self._store.key_states()

    def state_names(self) -> Sequence[str]:
        """`healthy`, or why it rests, for each key; empty where the store cannot be reached."""
        try:
            return [state.rest.reason if state.rest else "healthy" for state in self._store.key_states()]
        except StoreUnavailable:
            return []

    def find_another(self, caller: str, seconds: float, tried: frozenset[str]) -> Grant | None:
        """A turn with a key that has not been tried; None if none is left, as they all failed.

        Raises `UpstreamBusy` if one is left and has no turn in time, or `ShuttingDown`.
        """
        if tried >= self._secrets.keys():
            return None
        try:
            found = self._queue.wait_for_turn(caller, max(seconds, 0), tried)
            if isinstance(found, Grant):
                return found
            left = [state for state in self._store.key_states() if state.fingerprint not in tried]
        except QueueStopped:
            raise ShuttingDown from None
        except (QueueFull, StoreUnavailable):
            return None
        if all(state.has_failed for state in left):
            return None
        raise self._busy("not_in_time", self._queue_seconds if found.seconds is None else found.seconds)

    def report(self, grant: Grant, error: UpstreamError | None) -> None:
        """Never raises: the call is over, and its outcome counts more than the state of the key."""
        try:
            self._report(grant, error)
        except StoreUnavailable:
            log.warning("State of upstream key not stored", extra={"upstream_key": grant.fingerprint})

    def _report(self, grant: Grant, error: UpstreamError | None) -> None:
        fault = error.key_fault if error is not None else None
        if error is None or (fault is None and error.code.lstrip("-").isdigit()):
            if grant.probe:
                self._store.recover(grant)
        elif fault is None:
            if grant.probe:  # the call says nothing of the key: the next one probes it
                self._store.stop_probe(grant)
        elif self._rests is not None:
            first, longest = self._rests[fault]
            asked = error.key_rest_seconds if fault == "rate" else None  # an empty account is not full in a second
            seconds = first if asked is None else float(asked)
            self._store.rest(grant, fault, error.code, seconds, longest)
            metrics.KEY_RESTS.labels(fault).inc()
            details = {"upstream_key": grant.fingerprint, "reason": fault, "code": error.code, "seconds": seconds}
            log.warning("Upstream key rests", extra=details)

    def _give_back(self, grant: Grant) -> None:
        try:
            self._queue.give_back(grant)
        except StoreUnavailable:
            log.warning("Turn not given back", extra={"upstream_key": grant.fingerprint})

    def _first_grant(self, caller: str, cancellation: Cancellation) -> Grant:
        try:
            found = self._wait_or_fail(caller, cancellation)
            if isinstance(found, Wait) and found.seconds is None:  # a key's rest has ended in this moment
                found = self._wait_or_fail(caller, cancellation)
        except QueueStopped:
            raise ShuttingDown from None
        except QueueCancelled:
            raise TaskWithdrawn from None
        except (QueueFull, StoreUnavailable) as error:
            reason = "queue_full" if isinstance(error, QueueFull) else "store_unavailable"
            raise self._busy(reason, self._queue_seconds) from error
        if isinstance(found, Grant):
            return found
        raise self._busy("not_in_time", self._queue_seconds if found.seconds is None else found.seconds)

    def _wait_or_fail(self, caller: str, cancellation: Cancellation) -> Grant | Wait:
        found = self._queue.wait_for_turn(caller, self._queue_seconds, cancellation=cancellation)
        if isinstance(found, Wait):
            self._check_keys()
        return found

    def _check_keys(self) -> None:
        """Raise the upstream's error where every key rests for a reason that waiting does not mend."""
        states = self._store.key_states()
        if all(state.has_failed for state in states):
            rests = [state.rest for state in states if state.rest is not None]
            raise self._error_of_code(min(rests, key=lambda rest: rest.seconds).code)

    def _busy(self, reason: str, seconds: float) -> UpstreamBusy:
        metrics.QUEUE_REJECTED.labels(reason).inc()
        return UpstreamBusy(min(max(math.ceil(seconds), 1), MAX_RETRY_AFTER_SECONDS))
