"""Calls that end in every way while workers, the database and Redis are killed: the ledger still balances."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

from tests.integration.billing_gateway import PRICE, BillingGateway, billing_gateway
from tests.integration.process_metrics import wait_until_idle
from tests.integration.raw_http import ask, children
from tests.support.databases import ScratchDatabase
from tests.support.fake_minimax import FakeMinimax, _read_request, error_response, half, raw, reset, respond, success
from tests.support.redis_server import REDIS, RedisServer, redis_server
from tests.support.waiting import wait_until

ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "2"))
CALLERS = 12
CALLS = 25  # per caller and round
BALANCE = 10**9
NO_SUCH_LIMIT = 10**8

IMAGES = {"good": 2, "withheld": 1, "slow": 2, "refused": 0, "busy": 0, "reset": 0, "half": 0, "nonsense": 0}
SCRIPTS = {
    "good": respond(success(2)),
    "withheld": respond(success(1, failed=1)),
    "slow": respond(success(2), after=0.3),
    "refused": respond(error_response(1026)),
    "busy": respond(error_response(1002)),
    "reset": reset,
    "half": half(success(2)),
    "nonsense": raw(b"nonsense\r\n\r\n", then_close=True),
}


class StormyUpstream(FakeMinimax):
    """Runs the script that the prompt begins with, and records the calls that got a whole response."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[str] = []
        self.answered: set[str] = set()

    def _serve(self, connection: socket.socket) -> None:
        try:
            while (request := _read_request(connection)) is not None:
                prompt: str = request.json["prompt"]
                self.sent.append(prompt)
                SCRIPTS[prompt.partition(" ")[0]](connection)
                self.answered.add(prompt)
        except OSError:
            pass
        finally:
            self._open.discard(connection)
            connection.close()


@dataclass
class Storm:
    """`statuses` maps prompts to the status that the caller saw; None is a call that was cut off."""

    paid: BillingGateway
    statuses: dict[str, int | None] = field(default_factory=dict)
    charged: dict[str, int] = field(default_factory=dict)

    def blow(self) -> None:
        threads = [threading.Thread(target=self._call) for _ in range(CALLERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _call(self) -> None:
        kinds = random.choices(list(SCRIPTS), weights=[5, 3, 3, 1, 1, 1, 1, 1], k=CALLS)
        for kind in kinds:
            name = uuid.uuid4().hex
            prompt = f"{kind} {name}"
            self.statuses[prompt] = None
            with contextlib.suppress(OSError, HTTPException):
                reply = ask(self.paid.gateway.url, self.paid.drawing(prompt, f"x-request-id: {name}", n=2))
                self.statuses[prompt] = reply.status
                self.charged[prompt] = int(reply.headers.get("x-amux-charged", 0))
                if reply.status == 503:
                    time.sleep(0.1)  # spread the calls over several outages


@contextmanager
def meanwhile(act: Callable[[], object]) -> Iterator[None]:
    """Run `act` repeatedly, with pauses, while the body runs; at least once."""
    is_over = threading.Event()

    def run() -> None:
        while True:
            time.sleep(random.uniform(0.1, 0.6))
            act()
            if is_over.is_set():
                return

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def kill_a_worker(paid: BillingGateway) -> None:
    if workers := children(paid.gateway.process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(random.choice(workers), signal.SIGKILL)


def trouble(test_db: ScratchDatabase, paid: BillingGateway, redis: RedisServer | None) -> Callable[[], None]:
    """For SQLite, which has no process to kill, another writer holds the lock for a moment."""

    def database() -> None:
        with test_db.outage():
            time.sleep(random.uniform(0.05, 0.4))

    def limits() -> None:
        if redis is not None:
            redis.kill()
            time.sleep(random.uniform(0.05, 0.4))
            redis.start()

    def one_of_them() -> None:
        random.choice([lambda: kill_a_worker(paid), database, limits])()

    return one_of_them


def is_settled(paid: BillingGateway, journal: Path) -> bool:
    """Run maintenance, as the workers do, and check that nothing is left to settle."""
    paid.storage.maintenance.run()
    return paid.storage.ledger.open_owners() == [] and not any(journal.glob("*.json"))


def test_the_ledger_balances_after_any_storm(test_db: ScratchDatabase, tmp_path: Path) -> None:
    upstream = StormyUpstream()
    with ExitStack() as stack:
        stack.callback(upstream.close)
        redis = stack.enter_context(redis_server(tmp_path)) if REDIS else None
        limits = {"requests_per_minute": NO_SUCH_LIMIT, "max_calls": NO_SUCH_LIMIT}
        variables = {"REDIS_URL": redis.url} if redis else {}
        paid = stack.enter_context(
            billing_gateway(
                test_db, tmp_path, upstream.url, balance=BALANCE, limits=limits, WEB_CONCURRENCY="3", **variables
            )
        )
        storm = Storm(paid)
        for _ in range(ROUNDS):
            with meanwhile(trouble(test_db, paid, redis)):
                storm.blow()
            kill_a_worker(paid)
            wait_until(lambda: len(children(paid.gateway.process.pid)) == 3, "three workers again")
            wait_until_idle(paid.gateway)
            wait_until(lambda: is_settled(paid, tmp_path / "journal"), "nothing is left to do")
            check(storm, upstream)
        print(Counter((prompt.partition(" ")[0], status) for prompt, status in storm.statuses.items()))


def check(storm: Storm, upstream: StormyUpstream) -> None:
    paid = storm.paid
    entries = paid.entries()
    ends = {entry.request_id: entry for entry in entries if entry.kind in ("settle", "release", "unknown")}
    reserved = [entry.request_id for entry in entries if entry.kind == "reserve"]

    assert paid.storage.ledger.check() == []
    assert len(reserved) == len(set(reserved))
    assert sorted(reserved) == sorted(entry.request_id for entry in entries if entry.kind not in ("reserve", "credit"))
    assert len(upstream.sent) == len(set(upstream.sent)), "a call was sent twice"
    assert paid.balance == BALANCE - sum(entry.charged for entry in entries)

    for prompt, status in storm.statuses.items():
        kind, name = prompt.split()
        end = ends.get(name)
        cost = IMAGES[kind] * PRICE
        if status == 200:
            assert prompt in upstream.answered
            assert end is not None
            assert (end.kind, end.charged) == ("settle", cost), prompt
            assert storm.charged[prompt] == cost
        elif end is not None:
            # A call that was cut off may have been settled before; images that were not delivered are not charged.
            assert end.charged in ((0, cost) if status is None and end.kind == "settle" else (0,)), prompt
        if status == 503:
            assert prompt not in upstream.sent
        if prompt not in upstream.sent:
            assert end is None or end.charged == 0
    delivered = sum(IMAGES[prompt.split()[0]] * PRICE for prompt, s in storm.statuses.items() if s == 200)
    settled = {entry.request_id for entry in entries if entry.kind == "settle"}
    cut_off = [prompt for prompt, s in storm.statuses.items() if s is None and prompt.split()[1] in settled]
    paid_for = delivered + sum(IMAGES[prompt.split()[0]] * PRICE for prompt in cut_off)
    assert sum(entry.charged for entry in entries) == paid_for
    assert sum(row.charged for row in paid.usage()) <= paid_for
