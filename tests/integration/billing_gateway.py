"""A real gateway with a database and billed calls, and access to its ledger."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from app.storage.storage import Storage
from app.storage.tables import LedgerEntry, UsageRecord
from tests.integration.raw_http import MODEL, post
from tests.support import processes
from tests.support.databases import ScratchDatabase
from tests.support.processes import Served

PRICE = 100


@dataclass(frozen=True)
class BillingGateway:
    gateway: Served
    storage: Storage
    secret: str

    def drawing(self, prompt: str, *lines: str, n: int = 1) -> bytes:
        """A whole request for `n` images."""
        return post({"model": MODEL, "prompt": prompt, "n": n}, *lines, key=self.secret)

    @property
    def balance(self) -> int | None:
        return self.storage.keys.get("caller").balance

    def entries(self) -> list[LedgerEntry]:
        with self.storage.database.transaction(read_only=True) as session:
            return list(session.scalars(select(LedgerEntry).order_by(LedgerEntry.id)))

    def kinds(self) -> list[str]:
        """The kinds of all ledger entries except credits."""
        return [entry.kind for entry in self.entries() if entry.kind != "credit"]

    def usage(self) -> list[UsageRecord]:
        with self.storage.database.transaction(read_only=True) as session:
            return list(session.scalars(select(UsageRecord)))


@contextmanager
def billing_gateway(
    test_db: ScratchDatabase,
    tmp_path: Path,
    upstream_url: str,
    *,
    balance: int | None,
    limits: dict[str, Any] | None = None,
    command: str | None = None,
    **variables: str,
) -> Iterator[BillingGateway]:
    """Start a gateway with one API key that has `balance` (micro-units; None is unlimited)."""
    storage = Storage(test_db.url, prices={}, journal_folder=tmp_path / "journal", max_call_seconds=60, usage_days=30)
    secret = storage.keys.create("caller", balance=balance, **(limits or {}))
    chosen = {
        "AMUX_API_KEYS": "",
        "DATABASE_URL": test_db.url,
        "AMUX_PRICES": f"{MODEL}={PRICE}",
        "AMUX_JOURNAL_FOLDER": str(tmp_path / "journal"),
    }
    try:
        with processes.gateway(tmp_path, upstream_url, command, **(chosen | variables)) as gateway:
            yield BillingGateway(gateway, storage, secret)
    finally:
        storage.database.engine.dispose()
