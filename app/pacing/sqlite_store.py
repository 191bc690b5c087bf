"""Pacer store for the workers of one instance: a small SQLite file that they share.

SQLite is part of Python, its transactions survive a worker that is killed in the middle of one, and a step takes 50
microseconds. The file is the instance's own and starts empty, so that a restart ends all rests.
"""

from __future__ import annotations

import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from app.pacing.schedule import KeyLoad, choose, next_look, seconds_until_turn
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

BUSY_SECONDS = 5.0  # how long a step may wait for the others'
MAX_DOUBLINGS = 32  # far beyond the longest rest

_SCHEMA = """
CREATE TABLE keys (position INTEGER PRIMARY KEY, fingerprint TEXT UNIQUE, rate INTEGER,
    rests_until REAL DEFAULT 0, reason TEXT, code TEXT, strikes INTEGER DEFAULT 0);
CREATE TABLE starts (id TEXT PRIMARY KEY, fingerprint TEXT, at REAL);
CREATE INDEX starts_by_key ON starts (fingerprint, at);
CREATE TABLE tickets (id TEXT PRIMARY KEY, tag INTEGER, number INTEGER, caller TEXT, worker TEXT, excluded TEXT);
CREATE INDEX tickets_in_order ON tickets (tag, number);
CREATE INDEX tickets_by_caller ON tickets (caller, tag);
CREATE TABLE workers (worker TEXT PRIMARY KEY, seen REAL);
CREATE TABLE clock (virtual INTEGER, number INTEGER);
INSERT INTO clock VALUES (0, 0);
"""


class SqliteStore:
    """Implements `app.pacing.store.PacerStore`.

    Turns go round the callers by start-time fair queueing: a ticket's tag is one more than the last one of its caller's
    that waits, or than the tag served last, and the smallest tag is next. Tickets that have left count for nothing.
    """

    def __init__(
        self,
        file: Path,
        *,
        window_seconds: float = WINDOW_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Connects to `file` at the first step, so that processes that are forked have a connection of their own."""
        self._file = file
        self._window = window_seconds * (1 + WINDOW_MARGIN)
        self._clock = clock  # the same for all processes of this machine
        self._connection: sqlite3.Connection | None = None
        self._lock = threading.Lock()

    def create(self, keys: Sequence[KeyRate]) -> None:
        """Make the file anew, with `keys` in it. Called once, before any process uses the store."""
        self.remove()
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with closing(self._connect()) as connection:
            connection.execute("PRAGMA journal_mode=WAL")  # kept in the file
        with self._step() as connection:
            for statement in _SCHEMA.strip().removesuffix(";").split(";\n"):
                connection.execute(statement)
            rows = [(position, key.fingerprint, key.rate) for position, key in enumerate(keys)]
            connection.executemany("INSERT INTO keys (position, fingerprint, rate) VALUES (?, ?, ?)", rows)
        self.close()

    def remove(self) -> None:
        """Delete the file. Called once, after all processes have closed the store."""
        for path in (self._file, Path(f"{self._file}-wal"), Path(f"{self._file}-shm")):
            path.unlink(missing_ok=True)

    def request(self, ticket: Ticket, max_waiting: int) -> Grant | Wait:
        with self._step() as connection:
            now = self._clock()
            [waiting] = connection.execute("SELECT count(*) FROM tickets").fetchone()
            keys = self._loads(connection, now)
            if waiting == 0:
                key = choose(keys, now, ticket.excluded)
                if key is not None:
                    return self._start(connection, ticket.id, key, now)
            if not self._is_waiting(connection, ticket.id):
                if waiting >= max_waiting and not ticket.urgent:
                    raise QueueFull
                self._see(connection, ticket.worker, now)
                self._enqueue(connection, ticket)
            usable = [key for key in keys if key.fingerprint not in ticket.excluded]
            return Wait(seconds_until_turn(usable, now, self._window, self._rank(connection, ticket.id)))

    def take(self, worker: str) -> tuple[Sequence[Grant], float | None]:
        with self._step() as connection:
            now = self._clock()
            known = self._see(connection, worker, now)
            keys, grants = self._loads(connection, now), []
            first = "SELECT id, worker, tag, excluded FROM tickets ORDER BY tag, number LIMIT ?"
            for ticket_id, owner, tag, excluded in connection.execute(first, (MAX_TURNS,)).fetchall():
                if not any(key.has_room(now) for key in keys):
                    break
                key = choose(keys, now, excluded.split())
                if key is None:
                    continue
                if owner == worker:
                    connection.execute("DELETE FROM tickets WHERE id = ?", (ticket_id,))
                    connection.execute("UPDATE clock SET virtual = max(virtual, ?)", (tag,))
                    grants.append(self._start(connection, ticket_id, key, now))
                else:  # its own worker will take it: the room is not ours
                    key.starts.append(now)
        if not known:
            raise WorkerForgotten
        return grants, next_look(keys, now, self._window)

    def leave(self, ticket_id: str) -> bool:
        with self._step() as connection:
            return connection.execute("DELETE FROM tickets WHERE id = ?", (ticket_id,)).rowcount > 0

    def give_back(self, grant: Grant) -> None:
        with self._step() as connection:
            connection.execute("DELETE FROM starts WHERE id = ?", (grant.start_id,))
            if grant.probe:
                self._stop_probe(connection, grant)

    def stop_probe(self, grant: Grant) -> None:
        with self._step() as connection:
            self._stop_probe(connection, grant)

    def rest(self, grant: Grant, reason: RestReason, code: str, seconds: float, longest: float) -> None:
        with self._step() as connection:
            now = self._clock()
            row = "SELECT rests_until, strikes FROM keys WHERE fingerprint = ?"
            rests_until, strikes = connection.execute(row, (grant.fingerprint,)).fetchone()
            if rests_until > now and not grant.probe:  # another call has already reported it
                return
            strikes = strikes if reason == "account" else 0
            until = now + min(seconds * 2 ** min(strikes, MAX_DOUBLINGS), longest)
            connection.execute(
                "UPDATE keys SET rests_until = ?, reason = ?, code = ?, strikes = ? WHERE fingerprint = ?",
                (until, reason, code, strikes + 1 if reason == "account" else 0, grant.fingerprint),
            )

    def recover(self, grant: Grant) -> None:
        with self._step() as connection:
            connection.execute(
                "UPDATE keys SET rests_until = 0, reason = NULL, code = NULL, strikes = 0 WHERE fingerprint = ?",
                (grant.fingerprint,),
            )

    def key_states(self) -> Sequence[KeyState]:
        with self._step() as connection:
            now = self._clock()
            loads = {load.fingerprint: load for load in self._loads(connection, now)}
            rows = connection.execute("SELECT fingerprint, rate, reason, code FROM keys ORDER BY position").fetchall()
            return [_state(loads[fingerprint], rate, reason, code, now) for fingerprint, rate, reason, code in rows]

    def waiting(self) -> int:
        with self._step() as connection:
            [count] = connection.execute("SELECT count(*) FROM tickets").fetchone()
            return int(count)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def _step(self) -> Iterator[sqlite3.Connection]:
        """One transaction. Waits for the others in Python, so that the event loop goes on."""
        with self._lock:
            try:
                connection = self._connection = self._connection or self._connect()
                _execute_when_free(connection, "BEGIN IMMEDIATE")
                try:
                    yield connection
                    connection.execute("COMMIT")
                finally:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
            except sqlite3.Error as error:
                raise StoreUnavailable from error

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._file, isolation_level=None, timeout=0, check_same_thread=False)
        # Nothing in the file outlives a restart of the instance, so nothing waits for the disk. The statement reads the
        # file, which is locked for a moment while another worker is the first to open it.
        _execute_when_free(connection, "PRAGMA synchronous=OFF")
        return connection

    def _loads(self, connection: sqlite3.Connection, now: float) -> list[KeyLoad]:
        rows = connection.execute("SELECT fingerprint, rate, rests_until, strikes, reason FROM keys ORDER BY position")
        loads = {
            fingerprint: KeyLoad(fingerprint, rate, [], rests_until, strikes > 0, reason in FAILURES)
            for fingerprint, rate, rests_until, strikes, reason in rows
        }
        begin = now - self._window
        starts = connection.execute("SELECT fingerprint, at FROM starts ORDER BY at").fetchall()
        if starts and starts[0][1] <= begin:
            connection.execute("DELETE FROM starts WHERE at <= ?", (begin,))
        for fingerprint, at in starts:
            if at > begin:
                loads[fingerprint].starts.append(at)
        return list(loads.values())

    def _start(self, connection: sqlite3.Connection, ticket_id: str, key: KeyLoad, now: float) -> Grant:
        start_id = uuid.uuid4().hex
        if key.rate:
            connection.execute("INSERT INTO starts VALUES (?, ?, ?)", (start_id, key.fingerprint, now))
            key.starts.append(now)
        if key.probes:  # no other call may use the key until this one has reported
            key.rests_until = now + PROBE_SECONDS
            connection.execute(
                "UPDATE keys SET rests_until = ? WHERE fingerprint = ?", (key.rests_until, key.fingerprint)
            )
        return Grant(ticket_id, key.fingerprint, start_id, key.probes)

    @staticmethod
    def _is_waiting(connection: sqlite3.Connection, ticket_id: str) -> bool:
        return connection.execute("SELECT 1 FROM tickets WHERE id = ?", (ticket_id,)).fetchone() is not None

    @staticmethod
    def _enqueue(connection: sqlite3.Connection, ticket: Ticket) -> None:
        virtual, number = connection.execute("SELECT virtual, number FROM clock").fetchone()
        last = "SELECT coalesce(max(tag), 0) FROM tickets WHERE caller = ?"
        [last_tag] = connection.execute(last, (ticket.caller,)).fetchone()
        tag = 0 if ticket.urgent else max(virtual, last_tag) + 1
        connection.execute("UPDATE clock SET number = number + 1")
        row = (ticket.id, tag, number, ticket.caller, ticket.worker, " ".join(ticket.excluded))
        connection.execute("INSERT INTO tickets VALUES (?, ?, ?, ?, ?, ?)", row)

    @staticmethod
    def _see(connection: sqlite3.Connection, worker: str, now: float) -> bool:
        """Note that `worker` is alive, and drop the tickets of those that are not; whether it was known."""
        stale = "DELETE FROM workers WHERE seen < ? RETURNING worker"
        gone = connection.execute(stale, (now - LEASE_SECONDS,)).fetchall()
        connection.executemany("DELETE FROM tickets WHERE worker = ?", gone)
        known = connection.execute("UPDATE workers SET seen = ? WHERE worker = ?", (now, worker)).rowcount > 0
        if not known:
            connection.execute("INSERT INTO workers VALUES (?, ?)", (worker, now))
        return known

    @staticmethod
    def _stop_probe(connection: sqlite3.Connection, grant: Grant) -> None:
        connection.execute("UPDATE keys SET rests_until = 0 WHERE fingerprint = ?", (grant.fingerprint,))

    @staticmethod
    def _rank(connection: sqlite3.Connection, ticket_id: str) -> int:
        """How many tickets come before this one."""
        [rank] = connection.execute(
            "SELECT count(*) FROM tickets, (SELECT tag AS t, number AS n FROM tickets WHERE id = ?) "
            "WHERE tag < t OR (tag = t AND number < n)",
            (ticket_id,),
        ).fetchone()
        return int(rank)


def _execute_when_free(connection: sqlite3.Connection, statement: str) -> None:
    """Wait while another process has the file locked. SQLite's own timeout would stop the event loop meanwhile."""
    give_up = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute(statement)
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
            time.sleep(0.002)


def _state(load: KeyLoad, rate: int, reason: RestReason | None, code: str | None, now: float) -> KeyState:
    seconds = load.rests_until - now
    rest = Rest(reason, code or "", seconds) if reason is not None and seconds > 0 else None
    return KeyState(load.fingerprint, rate, len(load.starts), rest)
