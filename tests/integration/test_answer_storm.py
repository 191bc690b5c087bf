"""Calls with idempotency keys, retries and tasks while workers and PostgreSQL are killed: what was paid for is kept.

`STORM_ROUNDS=20 pytest tests/integration/test_answer_storm.py` runs it longer.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from types import MappingProxyType

from tests.integration.answer_beds import BALANCE, Account
from tests.integration.billing_gateway import PRICE, BillingGateway, billing_gateway
from tests.integration.process_metrics import wait_until_idle
from tests.integration.raw_http import GENERATIONS, MODEL, Caller, Reply, children
from tests.integration.test_chaos import is_settled, kill_a_worker, meanwhile
from tests.support.databases import ScratchDatabase, ScratchPostgres
from tests.support.prompted_minimax import PromptedMinimax, new_prompt, start_prompted_minimax
from tests.support.waiting import wait_until

ROUNDS = int(os.environ.get("STORM_ROUNDS", "1"))
ROUND_SECONDS = 5
CALLERS = 10
WORKERS = 3
PATIENCE = 60  # seconds until a call must have an answer
# All of these answers are kept: for each key MiniMax is called once at most. The number is how often each is chosen.
KINDS = {"good": 6, "good-slow": 4, "1026": 1, "reset": 1, "half": 1}


@dataclass
class Intent:
    """One image that a caller wants, in as many tries as it takes. `way` is one of `Storm.WAYS`.

    `answers` are the final answers that it got: a task's `result` or `error` counts as a body. `request_ids` are those
    of its tries, by which the ledger knows them.
    """

    way: str
    prompt: str
    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    request_ids: list[str] = field(default_factory=list)
    task: str | None = None
    answers: list[tuple[int, bytes]] = field(default_factory=list)

    def lines(self, *more: str) -> tuple[str, ...]:
        """The header lines of another try."""
        self.request_ids.append(uuid.uuid4().hex)
        return (f"x-request-id: {self.request_ids[-1]}", *more)

    @property
    def key_line(self) -> str:
        return f"Idempotency-Key: {self.key}"


class Storm:
    """Callers that begin intents for a while, and finish each of them."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.intents: list[Intent] = []
        self.failures: list[str] = []

    def blow(self) -> None:
        end = time.monotonic() + ROUND_SECONDS
        threads = [threading.Thread(target=self._call_until, args=(end,)) for _ in range(CALLERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _call_until(self, end: float) -> None:
        while time.monotonic() < end and not self.failures:
            [kind] = random.choices(list(KINDS), weights=list(KINDS.values()))
            name, _, slow = kind.partition("-")
            intent = Intent(random.choice(list(self.WAYS)), new_prompt(name, 0.5 if slow else 0.02))
            self.intents.append(intent)
            try:
                self.finish(intent)
            except Exception as error:  # shown by the test, which is in another thread
                self.failures.append(f"{intent}: {error!r}")

    def finish(self, intent: Intent) -> None:
        """Try until there is a final answer."""
        give_up = time.monotonic() + PATIENCE
        tries = 0
        while not self.WAYS[intent.way](self, intent, tries):
            assert time.monotonic() < give_up, "no answer"
            tries += 1
            time.sleep(random.uniform(0.05, 0.3))

    def _post(self, intent: Intent, *lines: str, path: str = GENERATIONS) -> Reply | None:
        """None if the connection broke, or if the caller left by itself, as some do."""
        document = {"model": MODEL, "prompt": intent.prompt}
        with contextlib.suppress(OSError, HTTPException), Caller(self.account.url) as caller:
            if random.random() < 0.2:
                caller.socket.settimeout(0.1)
            return caller.send(self.account.request(document, *intent.lines(*lines), path=path)).reply()
        return None

    def with_key(self, intent: Intent, tries: int) -> bool:
        """The same key until an answer comes that says not to try again."""
        reply = self._post(intent, intent.key_line)
        return _is_final(reply) and _keep(intent, reply)

    def as_task(self, intent: Intent, tries: int) -> bool:
        """With a key as well, for a 202 that was lost."""
        if intent.task is None:
            reply = self._post(intent, intent.key_line, path=f"{GENERATIONS}/async")
            if reply is None or reply.status != 202:
                assert reply is None or not _is_final(reply), reply
                return False
            intent.task = reply.headers["location"]
        with contextlib.suppress(OSError, HTTPException):
            return self.fetch(intent)
        return False

    def fetch(self, intent: Intent) -> bool:
        """Fetch the task, and keep its answer if it has ended."""
        reply = self.account.get(f"{intent.task}?wait=5")
        if reply.status == 503:
            return False
        assert reply.status == 200, reply
        document = reply.json
        if document["status"] == "completed":
            return _keep(intent, Reply(200, {}, repr(document["result"]).encode()))
        if document["status"] == "failed":
            error = document["error"]
            return _keep(intent, Reply(error["http_status"], {}, repr(error).encode()))
        return False

    def as_retry(self, intent: Intent, tries: int) -> bool:
        """As the SDKs do, without a key. A worker that was killed takes an answer of this kind with it."""
        reply = self._post(intent, f"x-stainless-retry-count: {tries}")
        return _is_final(reply) and _keep(intent, reply)

    WAYS: Mapping[str, Callable[[Storm, Intent, int], bool]] = MappingProxyType(
        {"key": with_key, "task": as_task, "retry": as_retry}
    )


def _is_final(reply: Reply | None) -> bool:
    return reply is not None and reply.headers.get("x-should-retry") != "true"


def _keep(intent: Intent, reply: Reply | None) -> bool:
    assert reply is not None
    intent.answers.append((reply.status, reply.body))
    return True


def trouble(test_db: ScratchDatabase, paid: BillingGateway) -> Callable[[], None]:
    """Kill a worker, or PostgreSQL, which comes back after a moment. SQLite has no process to kill."""

    def postgresql() -> None:
        with test_db.outage():
            time.sleep(random.uniform(0.05, 0.4))

    def worker() -> None:
        time.sleep(random.uniform(0.2, 0.8))  # a worker needs a second to boot
        kill_a_worker(paid)

    acts = [worker, postgresql] if isinstance(test_db, ScratchPostgres) else [worker]
    return lambda: random.choice(acts)()


def test_what_was_paid_for_can_be_fetched_after_any_storm(test_db: ScratchDatabase, tmp_path: Path) -> None:
    with (
        start_prompted_minimax() as upstream,
        billing_gateway(test_db, tmp_path, upstream.url, balance=BALANCE, WEB_CONCURRENCY=str(WORKERS)) as paid,
    ):
        paid.storage.ledger.credit(paid.storage.keys.get("caller").id, 10**9)
        storm = Storm(Account(paid.gateway.url, paid.secret, paid.storage, "caller"))
        for _ in range(ROUNDS):
            with meanwhile(trouble(test_db, paid)):
                storm.blow()
            assert storm.failures == []
            wait_until(lambda: len(children(paid.gateway.process.pid)) == WORKERS, "all workers again")
            wait_until_idle(paid.gateway)
            wait_until(lambda: is_settled(paid, tmp_path / "journal"), "nothing is left to do")
            check(storm, upstream)
        print(Counter((each.way, each.prompt.partition("@")[0], each.answers[0][0]) for each in storm.intents))


def check(storm: Storm, upstream: PromptedMinimax) -> None:
    account = storm.account
    entries = account.entries()
    charged = {entry.request_id: entry.charged for entry in entries if entry.charged}
    reserved = Counter(entry.request_id for entry in entries if entry.kind == "reserve")

    assert account.storage is not None
    assert account.storage.ledger.check() == []
    assert 2 * reserved.total() == len(entries)
    assert max(reserved.values()) == 1
    assert set(charged.values()) <= {PRICE}
    for intent in storm.intents:
        prices = [charged[name] for name in intent.request_ids if name in charged]
        if intent.way == "retry":
            assert upstream.calls(intent.prompt) <= len(intent.request_ids)
            continue
        assert upstream.calls(intent.prompt) <= 1, f"MiniMax was called twice for one key: {intent}"
        assert len(prices) <= 1, f"charged twice for one key: {intent}"
        check_fetchable(storm, intent, is_charged=bool(prices))


def check_fetchable(storm: Storm, intent: Intent, *, is_charged: bool) -> None:
    """The same answer as before; if it was charged, it has the image."""
    if intent.way == "task":
        assert storm.fetch(intent)
    else:
        reply = storm.account.generate(intent.prompt, intent.key_line)
        assert reply.headers["idempotent-replayed"] == "true", intent
        _keep(intent, reply)
    assert len(set(intent.answers)) == 1, intent
    if is_charged:
        assert intent.answers[0][0] == 200, f"charged, and not to be had: {intent}"
