"""Processes that share a pacer store: `python -m tests.pacing.processes COMMAND KIND ADDRESS WINDOW …`.

`hammer … COUNT RATE…` lets eight threads take turns, `COUNT` in all, and prints each start as the store has noted it;
`hold … RATE` stays in the middle of a step.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing

from redis import Redis

from app.pacing.sqlite_store import SqliteStore
from app.pacing.store import Grant
from app.pacing.turn_queue import TurnQueue
from tests.pacing.conftest import open_store

THREADS = 8
PATIENCE = 50  # seconds


def hammer(kind: str, address: str, window: float, count: int, *rates: int) -> list[tuple[str, float]]:
    """A start that was read too late, after it had left the window, is left out."""
    starts: list[tuple[str, float]] = []
    begun_at = start_times(kind, address)
    give_up = time.monotonic() + PATIENCE

    def take_turns(queue: TurnQueue, caller: str) -> None:
        while len(starts) < count and (left := give_up - time.monotonic()) > 0:
            found = queue.wait_for_turn(caller, left)
            if isinstance(found, Grant) and (at := begun_at(found)) is not None:
                starts.append((found.fingerprint, at))

    with closing(open_store(kind, address, window, *rates)) as store:
        queue = TurnQueue(store, 1000)
        threads = [threading.Thread(target=take_turns, args=(queue, f"caller-{n}")) for n in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return starts


def start_times(kind: str, address: str) -> Callable[[Grant], float | None]:
    if kind == "redis":
        client = Redis.from_url(address, decode_responses=True)
        return lambda grant: client.zscore(f"amux:pacing/starts/{grant.fingerprint}", grant.start_id)

    def read(grant: Grant) -> float | None:
        with closing(sqlite3.connect(address, timeout=30)) as connection:
            row = connection.execute("SELECT at FROM starts WHERE id = ?", (grant.start_id,)).fetchone()
            return float(row[0]) if row else None

    return read


def hold(kind: str, address: str, window: float, *rates: int) -> None:
    store = open_store(kind, address, window, *rates)
    assert isinstance(store, SqliteStore)
    with store._step() as connection:
        connection.execute("INSERT INTO starts VALUES ('half', 'key-0', ?)", (time.monotonic(),))
        print("holds", flush=True)
        time.sleep(600)


if __name__ == "__main__":
    command, kind, address, window, *rest = sys.argv[1:]
    if command == "hammer":
        print(json.dumps(hammer(kind, address, float(window), int(rest[0]), *map(int, rest[1:]))))
    else:
        hold(kind, address, float(window), *map(int, rest))
