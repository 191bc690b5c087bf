"""Owns how the parts of the storage stand together, and the chores that keep it tidy."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from app import metrics
from app.errors import StorageUnavailable
from app.storage.database import Database
from app.storage.journal import Journal
from app.storage.keys import KeyStore, StoredCallers
from app.storage.ledger import Ledger
from app.storage.moves import Settlement
from app.storage.owner import is_gone
from app.storage.tables import now
from app.storage.till import StoredTill
from app.storage.usage import UsageStore

log = logging.getLogger(__name__)

CHORES_SECONDS = 5
# A reservation this much older than the longest call has nobody left who could end it.
MARGIN = timedelta(minutes=15)


@dataclass(frozen=True)
class Tidied:
    """Pieces of the journal that landed, and that cannot; reservations that were ended as unknown."""

    landed: int
    stuck: int
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
        self.keys = KeyStore(self.database)
        self.ledger = Ledger(self.database)
        self.usage = UsageStore(self.database)
        self.journal = Journal(journal_folder)
        self.callers = StoredCallers(self.keys)
        self.till = StoredTill(self.ledger, self.journal, prices)
        self._stale_after = timedelta(seconds=max_call_seconds) + MARGIN
        self._usage_days = usage_days

    def record_usage(self, row: dict[str, Any]) -> None:
        """One request's row; to the journal where the database is gone. It may cost time, never the answer."""
        try:
            try:
                self.usage.add(row)
            except StorageUnavailable:
                self.journal.add("usage", row["id"], row, request_id=row["request_id"])
        except Exception:
            log.exception("A row of usage is lost")

    def tidy(self) -> Tidied:
        """Brings in the journal, and ends what nobody will end any more. Raises `StorageUnavailable`."""
        # Who is gone has no more to say in the journal, which knows more of a reservation than that its owner is gone.
        owners = [owner for owner in self.ledger.open_owners() if is_gone(owner)]
        brought = self.journal.bring_in({"end": self._land_settlement, "usage": self.usage.add})
        if swept := self.ledger.sweep(before=now() - self._stale_after, owners=owners):
            log.warning("Reservations that nobody ended, now unknown: %d", swept)
        return Tidied(brought.landed, brought.stuck, swept)

    def _land_settlement(self, fields: dict[str, Any]) -> None:
        settlement = Settlement(**fields)
        ended = self.ledger.end(settlement)
        # A release may be of what has never been reserved: see the till.
        if ended is None and settlement.outcome != "release" and not self.ledger.has(settlement.reservation_id):
            raise UnknownReservation(settlement.reservation_id)

    def start_chores(self) -> None:
        """In a thread of this process, for as long as that lives."""
        threading.Thread(target=self._keep_tidy, name="chores", daemon=True).start()

    def _keep_tidy(self) -> None:
        pause = threading.Event()
        while not pause.wait(CHORES_SECONDS):
            try:
                metrics.JOURNAL_PIECES.set(self.journal.waiting())
                self.tidy()
                self.usage.remove_older_than(self._usage_days)
            except StorageUnavailable:
                continue
            except Exception:  # the thread must live on: nothing else sweeps
                log.exception("chores")
