"""Pacer store for several machines, in Redis."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.connection import ConnectionPool
from redis.retry import Retry

from app.pacing.redis_script import STEP
from app.pacing.schedule import KeyLoad, next_look, seconds_until_turn
from app.pacing.store import (
    FAILURES,
    LEASE_SECONDS,
    MAX_TURNS,
    PROBE_SECONDS,
    WINDOW_MARGIN,
    WINDOW_SECONDS,
    Grant,
    KeyRate,
    KeyState,
    QueueFull,
    Rest,
    RestReason,
    StoreUnavailable,
    Ticket,
    Wait,
    WorkerForgotten,
)

SOCKET_SECONDS = 0.5  # a caller waits for it before its process paces alone

_KEYS = ("keys", "starts/", "key/", "queue", "tickets", "caller/", "workers", "clock", "instances", "instance/")


class RedisStore:
    """Implements `app.pacing.store.PacerStore`. Redis runs one script at a time: a step is atomic for all machines."""

    def __init__(
        self,
        url: str,
        keys: Sequence[KeyRate] | None,
        *,
        window_seconds: float = WINDOW_SECONDS,
        socket_seconds: float = SOCKET_SECONDS,
    ) -> None:
        """Connects at the first step. Raises `ValueError` for a URL of another scheme.

        `keys` is None for who only looks: the keys are then those of the gateways.
        """
        self._keys = " ".join(f"{key.fingerprint} {key.rate}" for key in keys or ())
        self._instance = uuid.uuid4().hex  # the same in all processes that are forked later
        self._window = window_seconds * (1 + WINDOW_MARGIN)
        self._connections = ConnectionPool.from_url(
            url,
            max_connections=1_000_000,  # bounded by the calls in flight
            socket_timeout=socket_seconds,
            socket_connect_timeout=socket_seconds,
            protocol=2,
            decode_responses=True,
            retry=Retry(NoBackoff(), 0),  # a lost reply may have started a call
        )
        self._script = Redis(connection_pool=self._connections).register_script(STEP)
        self._is_set_up = False

    def request(self, ticket: Ticket, max_waiting: int) -> Grant | Wait:
        excluded, urgent = " ".join(ticket.excluded), "1" if ticket.urgent else "0"
        described = (ticket.id, ticket.caller, ticket.worker, excluded, urgent)
        kind, *reply = self._step("request", *described, max_waiting, uuid.uuid4().hex, self._instance)
        if kind == "grant":
            return _grant(ticket.id, *reply[0])
        if kind == "full":
            raise QueueFull
        rank, rows = reply
        usable = [key for key in map(_load, rows) if key.fingerprint not in ticket.excluded]
        return Wait(seconds_until_turn(usable, 0.0, self._window, int(rank)))

    def take(self, worker: str) -> tuple[Sequence[Grant], float | None]:
        kind, *reply = self._step("take", worker, uuid.uuid4().hex, MAX_TURNS)
        if kind == "forgotten":
            raise WorkerForgotten
        turns, rows = reply
        return [_grant(*turn) for turn in turns], next_look([_load(row) for row in rows], 0.0, self._window)

    def leave(self, ticket_id: str) -> bool:
        [removed] = self._step("leave", ticket_id)
        return bool(removed == "1")

    def give_back(self, grant: Grant) -> None:
        self._step("give_back", grant.fingerprint, grant.start_id, "1" if grant.probe else "0")

    def stop_probe(self, grant: Grant) -> None:
        self._step("give_back", grant.fingerprint, "", "1")

    def rest(self, grant: Grant, reason: RestReason, code: str, seconds: float, longest: float) -> None:
        self._step("rest", grant.fingerprint, "1" if grant.probe else "0", reason, code, seconds, longest)

    def recover(self, grant: Grant) -> None:
        self._step("recover", grant.fingerprint)

    def key_states(self) -> Sequence[KeyState]:
        _, rows = self._step("keys")
        return [_state(*row) for row in rows]

    def waiting(self) -> int:
        count, _ = self._step("keys")
        return int(count)

    def close(self) -> None:
        self._connections.disconnect()

    def _step(self, command: str, *arguments: str | float) -> list[Any]:
        try:
            if self._keys and not self._is_set_up:
                self._run("setup", self._instance)
                self._is_set_up = True
            return self._run(command, *arguments)
        except RedisError as error:
            self._is_set_up = False  # it may come back empty
            raise StoreUnavailable from error

    def _run(self, command: str, *arguments: str | float) -> list[Any]:
        fixed = (command, self._window, LEASE_SECONDS, PROBE_SECONDS, self._keys)
        names = [f"amux:pacing/{name}" for name in _KEYS]
        reply: list[Any] = self._script(keys=names, args=[*fixed, *arguments])
        return reply


def _grant(ticket_id: str, fingerprint: str, start_id: str, probe: str) -> Grant:
    return Grant(ticket_id, fingerprint, start_id, probe == "1")


def _load(row: Sequence[str]) -> KeyLoad:
    """A key as the script describes it: its times count from now."""
    fingerprint, rate, rests_until, reason, *starts = row
    ages = [float(start) for start in starts]
    return KeyLoad(fingerprint, int(rate), ages, float(rests_until), failed=reason in FAILURES)


def _state(fingerprint: str, rate: str, seconds: str, reason: str, code: str, *starts: str) -> KeyState:
    rests = float(seconds) > 0 and reason in ("rate", "account", "refused")
    rest = Rest(reason, code, float(seconds)) if rests else None  # type: ignore[arg-type]
    return KeyState(fingerprint, int(rate), len(starts), rest)
