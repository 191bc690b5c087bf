"""Owns how the parts of the storage stand together, and the chores that keep it maintenance."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from app import metrics
from app.errors import DatabaseUnavailable
from app.storage.api_key_cache import CachedAuthenticator
from app.storage.api_keys import ApiKeyStore
from app.storage.billing import LedgerBilling
from app.storage.database import Database
from app.storage.journal import Journal
from app.storage.ledger import Ledger
from app.storage.process_identity import is_dead
from app.storage.reservations import Settlement
from app.storage.tables import now
from app.storage.usage import UsageStore

log = logging.getLogger(__name__)

MAINTENANCE_SECONDS = 5
# A reservation this much older than the longest call has nobody left who could end it.
MARGIN = timedelta(minutes=15)


@dataclass(frozen=True)
class MaintenanceReport:
    """Pieces of the journal that landed, and that cannot; reservations that were ended as unknown."""

    applied: int
    failed: int
    swept: int


class UnknownReservation(LookupError):
    """A settlement of a reservation that this database has never had: is it the right one?"""


class Storage:
    def __init__(
        self,
        url: str,
        *,
        prices: Mapping[str, int],
        journal_folder: Path,
        max_call_seconds: float,
        usage_days: int,
        patient: bool = False,
    ) -> None:
        """`prices` are micro-units a picture, by the model's id; `usage_days` is how long usage is kept.

        Nothing is asked of the database yet. `patient` is `Database`'s.
        """
        self.database = Database(url, patient=patient)
        self.keys = ApiKeyStore(self.database)
        self.ledger = Ledger(self.database)
        self.usage = UsageStore(self.database)
        self.journal = Journal(journal_folder)
        self.authenticator = CachedAuthenticator(self.keys)
        self.billing = LedgerBilling(self.ledger, self.journal, prices)
        self._stale_after = timedelta(seconds=max_call_seconds) + MARGIN
        self._usage_days = usage_days

    def record_usage(self, row: dict[str, Any]) -> None:
        """One request's row; to the journal where the database is gone. It may cost time, never the answer."""
        try:
            try:
                self.usage.add(row)
            except DatabaseUnavailable:
                self.journal.add("usage", row["id"], row, request_id=row["request_id"])
        except Exception:
            log.exception("Usage row lost")

    def run_maintenance(self) -> MaintenanceReport:
        """Brings in the journal, and ends what nobody will end any more. Raises `DatabaseUnavailable`."""
        # Who is gone has no more to say in the journal, which knows more of a reservation than that its owner is gone.
        owners = [owner for owner in self.ledger.open_owners() if is_dead(owner)]
        replayed = self.journal.replay({"end": self._apply_settlement, "usage": self.usage.add})
        if swept := self.ledger.sweep(before=now() - self._stale_after, owners=owners):
            log.warning("Swept %d stale reservations as unknown", swept)
        return MaintenanceReport(replayed.applied, replayed.failed, swept)

    def _apply_settlement(self, fields: dict[str, Any]) -> None:
        settlement = Settlement(**fields)
        ended = self.ledger.close_reservation(settlement)
        # A release may be of what has never been reserved: see the till.
        if (
            ended is None
            and settlement.outcome != "release"
            and not self.ledger.reservation_exists(settlement.reservation_id)
        ):
            raise UnknownReservation(settlement.reservation_id)

    def start_maintenance(self) -> None:
        """In a thread of this process, for as long as that lives."""
        threading.Thread(target=self._maintain, name="maintenance", daemon=True).start()

    def _maintain(self) -> None:
        pause = threading.Event()
        while not pause.wait(MAINTENANCE_SECONDS):
            try:
                metrics.JOURNAL_ENTRIES.set(self.journal.waiting())
                self.run_maintenance()
                self.usage.remove_older_than(self._usage_days)
            except DatabaseUnavailable:
                continue
            except Exception:  # the thread must live on: nothing else sweeps
                log.exception("Maintenance run failed")
