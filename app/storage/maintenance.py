"""Maintenance: replays the journal, sweeps stale reservations, and removes expired usage rows."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from app import metrics
from app.errors import DatabaseUnavailable
from app.storage.journal import Journal
from app.storage.ledger import Ledger
from app.storage.process_identity import is_dead
from app.storage.reservations import Settlement
from app.storage.times import now
from app.storage.usage import UsageStore

log = logging.getLogger(__name__)

INTERVAL_SECONDS = 5
# A reservation this much older than the longest call has no process left that could close it.
STALE_MARGIN = timedelta(minutes=15)


@dataclass(frozen=True)
class MaintenanceReport:
    """Journal entries that were applied and that cannot be, and reservations that were swept as unknown."""

    applied: int
    failed: int
    swept: int


class UnknownReservation(LookupError):
    """The journal has a settlement of a reservation that this database never had: it may be the wrong database."""


class Maintenance:
    """Every worker process runs it. Several may run at once: each step takes effect once."""

    def __init__(
        self, ledger: Ledger, journal: Journal, usage: UsageStore, *, max_call_seconds: float, usage_days: int
    ) -> None:
        """`max_call_seconds` is how long a call may last; `usage_days` is how long usage rows are kept."""
        self._ledger = ledger
        self._journal = journal
        self._usage = usage
        self._stale_after = timedelta(seconds=max_call_seconds) + STALE_MARGIN
        self._usage_days = usage_days

    def run(self) -> MaintenanceReport:
        """Replay the journal and sweep stale reservations. Raises `DatabaseUnavailable`."""
        # Find the dead owners first: what a process journaled before it died is then replayed before the sweep.
        owners = [owner for owner in self._ledger.open_owners() if is_dead(owner)]
        replayed = self._journal.replay({"end": self._apply_settlement, "usage": self._usage.add})
        if swept := self._ledger.sweep(before=now() - self._stale_after, owners=owners):
            log.warning("Swept %d stale reservations as unknown", swept)
        return MaintenanceReport(replayed.applied, replayed.failed, swept)

    def start(self) -> None:
        """Run every `INTERVAL_SECONDS` in a daemon thread of this process."""
        threading.Thread(target=self._run_forever, name="maintenance", daemon=True).start()

    def _apply_settlement(self, fields: dict[str, Any]) -> None:
        settlement = Settlement(**fields)
        closed = self._ledger.close_reservation(settlement)
        # A release may be of a reservation that was never written: see `LedgerBilling._reserve`.
        if (
            closed is None
            and settlement.outcome != "release"
            and not self._ledger.reservation_exists(settlement.reservation_id)
        ):
            raise UnknownReservation(settlement.reservation_id)

    def _run_forever(self) -> None:
        pause = threading.Event()
        while not pause.wait(INTERVAL_SECONDS):
            try:
                metrics.JOURNAL_ENTRIES.set(self._journal.waiting())
                self.run()
                self._usage.remove_older_than(self._usage_days)
            except DatabaseUnavailable:
                continue
            except Exception:  # the thread must survive any failure: nothing else sweeps
                log.exception("Maintenance run failed")
