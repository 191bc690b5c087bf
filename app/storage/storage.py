"""Wires the repositories, billing and maintenance of one database."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.errors import DatabaseUnavailable
from app.storage.api_key_cache import CachedAuthenticator
from app.storage.api_keys import ApiKeyStore
from app.storage.billing import LedgerBilling
from app.storage.database import Database
from app.storage.group_commit import GroupCommit
from app.storage.journal import Journal
from app.storage.ledger import Ledger
from app.storage.maintenance import Maintenance
from app.storage.usage import UsageStore
from app.storage.writer import DirectWriter, Writer

log = logging.getLogger(__name__)


class Storage:
    """Everything that is stored, by part: API keys, the ledger, usage, and the journal for times without a database.

    `authenticator` and `billing` implement the interfaces of `app.accounts`. `maintenance` must be started in each
    worker process, after the fork.
    """

    def __init__(
        self,
        url: str,
        *,
        prices: Mapping[str, int],
        journal_folder: Path,
        max_call_seconds: float,
        usage_days: int,
        statement_timeout: bool = True,
        group_commit: bool = True,
    ) -> None:
        """Does not connect yet, so it is safe before a fork. Raises sqlalchemy's `ArgumentError` for a malformed URL.

        `url` and `statement_timeout` are those of `Database`. `prices` are micro-units an image, by model id.
        With `group_commit`, writes that wait at the same time share a transaction: that is for a process that serves.
        `max_call_seconds` is how long a call may last; `usage_days` is how long usage rows are kept.
        """
        self.database = Database(url, statement_timeout=statement_timeout)
        self.keys = ApiKeyStore(self.database)
        ledger_writer, usage_writer = _writers(self.database, group_commit=group_commit)
        self.ledger = Ledger(self.database, ledger_writer)
        self.usage = UsageStore(self.database, usage_writer)
        self.journal = Journal(journal_folder)
        self.authenticator = CachedAuthenticator(self.keys)
        self.billing = LedgerBilling(self.ledger, self.journal, prices)
        self.maintenance = Maintenance(
            self.ledger, self.journal, self.usage, max_call_seconds=max_call_seconds, usage_days=usage_days
        )

    def record_usage(self, row: dict[str, Any]) -> None:
        """Store the row of one request, or journal it if the database is unavailable.

        `row` is as `UsageStore.add` takes it. Never raises: a lost row must not cost the caller its response.
        """
        try:
            try:
                self.usage.add(row)
            except DatabaseUnavailable:
                self.journal.add("usage", row["id"], row, request_id=row["request_id"])
        except Exception:
            log.exception("Usage row lost")


def _writers(database: Database, *, group_commit: bool) -> tuple[Writer, Writer]:
    """The writers of the ledger and of usage."""
    if not group_commit:
        direct = DirectWriter(database)
        return direct, direct
    ledger = GroupCommit(database)
    # PostgreSQL does not wait for its disk to commit usage, so a transaction must not mix the two.
    return ledger, ledger if database.engine.dialect.name == "sqlite" else GroupCommit(database)
