"""Gateways with each kind of answer store, in front of a fake MiniMax, and accounts for single cases."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Row, select

from app.accounts.api_key import fingerprint
from app.storage.database import Database
from app.storage.storage import Storage
from app.storage.tables import LedgerEntry
from app.storage.task_tables import TASKS
from app.tasks.request_digest import key_digest
from tests.integration.billing_gateway import PRICE
from tests.integration.raw_http import EDITS, GENERATIONS, MODEL, Reply, ask, head, post
from tests.support import processes
from tests.support.images import JPEG
from tests.support.processes import API_KEY, Served
from tests.support.prompted_minimax import PromptedMinimax, start_prompted_minimax
from tests.support.request_encodings import BOUNDARY, a_file, multipart
from tests.support.waiting import wait_until

# Where answers are kept: in a file of the gateway's own without a database, else in the database.
STORES = ("no database", "sqlite", "postgresql")
ANOTHER_KEY = "another-key-for-tests"
BALANCE = 1000 * PRICE


@dataclass(frozen=True)
class Account:
    """An API key at one gateway. Without a database there is no `storage`, and no money."""

    url: str
    secret: str
    storage: Storage | None = None
    name: str = ""

    def post(self, document: Any, *lines: str, path: str = GENERATIONS) -> Reply:
        """Call with JSON; `lines` are more header lines."""
        return ask(self.url, self.request(document, *lines, path=path))

    def request(self, document: Any, *lines: str, path: str = GENERATIONS) -> bytes:
        return post(document, *lines, path=path, key=self.secret)

    def generate(self, prompt: str, *lines: str, path: str = GENERATIONS, **fields: Any) -> Reply:
        return self.post({"model": MODEL, "prompt": prompt, **fields}, *lines, path=path)

    def edit(self, prompt: str, *lines: str, image: bytes = JPEG, path: str = EDITS) -> Reply:
        """Call with a form that has a reference image."""
        body = multipart(("model", MODEL), ("prompt", prompt), a_file(image))
        kind = f"Content-Type: multipart/form-data; boundary={BOUNDARY}"
        return ask(self.url, head("POST", path, kind, f"Content-Length: {len(body)}", *lines, key=self.secret) + body)

    def get(self, path: str) -> Reply:
        return ask(self.url, head("GET", path, key=self.secret), "GET")

    def check_charged(self, images: int) -> None:
        """Each image was reserved and settled once, and nothing is left open. Says nothing without a database."""
        if self.storage is not None:
            wait_until(self._is_settled, "every reservation closed")
            entries = self.entries()
            assert sum(entry.charged for entry in entries) == images * PRICE, [entry.kind for entry in entries]
            assert self.storage.keys.get(self.name).balance == BALANCE - images * PRICE
            assert self.storage.ledger.check() == []

    def _is_settled(self) -> bool:
        kinds = [entry.kind for entry in self.entries()]
        return 2 * kinds.count("reserve") == len(kinds)

    def entries(self) -> list[LedgerEntry]:
        """All entries except credits."""
        assert self.storage is not None
        chosen = select(LedgerEntry).where(
            LedgerEntry.key_id == self.storage.keys.get(self.name).id, LedgerEntry.kind != "credit"
        )
        with self.storage.database.transaction(read_only=True) as session:
            return list(session.scalars(chosen.order_by(LedgerEntry.id)))


@dataclass(frozen=True)
class Bed:
    """A gateway and its upstream. `storage` is None without a database. `answers` has the table of tasks."""

    gateway: Served
    upstream: PromptedMinimax
    storage: Storage | None
    answers: Database

    def account(self, secret: str = API_KEY, *, balance: int = BALANCE, **limits: Any) -> Account:
        """A new API key; without a database, the static key `secret`."""
        if self.storage is None:
            return Account(self.gateway.url, secret)
        return new_account(self.storage, self.gateway.url, balance, **limits)

    def wait_until_joined(self, account: Account, connections: int, key: str | None = None) -> None:
        """So many connections have come for the answer of the account's call, after the first: see `_rows`."""
        wait_until(lambda: [row.joins for row in self._rows(account, key)] == [connections], "the callers that wait")

    def wait_until_left(self, account: Account, key: str | None = None) -> None:
        """No connection waits for the answer of the account's call, so that a retry joins it: see `_rows`."""
        wait_until(lambda: [row.attendant for row in self._rows(account, key)] == [None], "the caller's leaving noted")

    def wait_until_answered(self, account: Account, key: str) -> None:
        wait_until(lambda: [row.state for row in self._rows(account, key)] == ["completed"], "the answer kept")

    def _rows(self, account: Account, key: str | None) -> list[Row[Any]]:
        """The account's calls with this idempotency key, or those without a key that are no tasks."""
        caller = fingerprint(account.secret)
        chosen = select(TASKS.c.attendant, TASKS.c.joins, TASKS.c.state).where(
            TASKS.c.caller == caller,
            TASKS.c.idempotency_key == (key_digest(caller, key) if key else None),
            TASKS.c.is_async.is_(False),
        )
        with self.answers.connection(read_only=True) as connection:
            return list(connection.execute(chosen))


def new_account(storage: Storage, url: str, balance: int = BALANCE, **limits: Any) -> Account:
    name = uuid.uuid4().hex
    return Account(url, storage.keys.create(name, balance=balance, **limits), storage, name)


def billing_variables(database_url: str, folder: Path) -> dict[str, str]:
    """A gateway's settings for a database with this URL."""
    journal = folder / f"journal-{uuid.uuid4().hex}"
    return {
        "AMUX_API_KEYS": "",
        "DATABASE_URL": database_url,
        "AMUX_PRICES": f"{MODEL}={PRICE}",
        "AMUX_JOURNAL_FOLDER": str(journal),
    }


@contextmanager
def open_storage(database_url: str, folder: Path) -> Iterator[Storage]:
    """The database as operators' commands open it."""
    storage = Storage(database_url, prices={}, journal_folder=folder / "none", max_call_seconds=60, usage_days=30)
    try:
        yield storage
    finally:
        storage.database.engine.dispose()


@contextmanager
def new_database(store: str, folder: Path, request: pytest.FixtureRequest) -> Iterator[str | None]:
    """The URL of a new database with the schema; None for the store without one."""
    if store == "no database":
        yield None
    elif store == "sqlite":
        path = folder / f"{uuid.uuid4().hex}.db"
        shutil.copy(request.getfixturevalue("migrated_sqlite"), path)
        yield f"sqlite:///{path}"
    else:
        server, name = request.getfixturevalue("postgres"), uuid.uuid4().hex
        server.create(name, template="migrated")
        yield server.url(name)
        server.drop(name)


@contextmanager
def start_bed(store: str, folder: Path, request: pytest.FixtureRequest, **variables: str) -> Iterator[Bed]:
    """A gateway whose answers are kept in `store`, one of `STORES`."""
    with ExitStack() as stack:
        upstream = stack.enter_context(start_prompted_minimax())
        url = stack.enter_context(new_database(store, folder, request))
        storage = stack.enter_context(open_storage(url, folder)) if url else None
        chosen = billing_variables(url, folder) if url else {"AMUX_API_KEYS": f"{API_KEY},{ANOTHER_KEY}"}
        gateway = stack.enter_context(processes.gateway(folder, upstream.url, **(chosen | variables)))
        answers = storage.database if storage else Database(f"sqlite:///{gateway.state}/answers.db")
        stack.callback(answers.engine.dispose)
        yield Bed(gateway, upstream, storage, answers)
