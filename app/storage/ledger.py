"""Ledger: reservations, settlements, releases and credits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import func, or_, select

from app import metrics
from app.storage import ledger_common, ledger_postgresql, ledger_sqlite
from app.storage.database import Database
from app.storage.reservations import Closed, LedgerStatements, Reservation, Settlement
from app.storage.tables import KEYS, LEDGER, RESERVATIONS, LedgerEntry, between_days

_STATEMENTS: dict[str, LedgerStatements] = {"sqlite": ledger_sqlite, "postgresql": ledger_postgresql}


@dataclass(frozen=True)
class Mismatch:
    """A key whose `balance` is not `entries`, the sum of its entries."""

    key_id: int
    balance: int
    entries: int


class Ledger:
    """Balances of API keys, in integer micro-units, and the entries that explain them.

    A call reserves its highest cost before it is made. Closing the reservation charges what was delivered and returns
    the rest to the balance, exactly once. Every change is one transaction that changes the balance and writes an entry,
    so that a key's balance is always the sum of its entries' `amount`. A key without a balance is not limited: its
    entries have the amount 0 and still say what was `charged`.

    All methods raise `DatabaseUnavailable`, or `CommitOutcomeUnknown`, as `Database` does.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._statements = _STATEMENTS[database.engine.dialect.name]

    def credit(self, key_id: int, amount: int, *, note: str = "") -> int:
        """Add `amount`, which may be negative, to the balance, and return the new one.

        A key without a balance gets one. Raises sqlalchemy's `IntegrityError` if the balance would be negative or the
        key is unknown, and `ValueError` if the balance would exceed `MAX_BALANCE`.
        """
        with self._database.connection() as connection:
            return ledger_common.credit(connection, key_id, amount, note=note)

    def reserve(self, reservation: Reservation) -> int | None:
        """Take the reservation's cost from the balance.

        Returns the remaining balance, None without a limit. Raises `InsufficientBalance`.
        """
        return self._statements.reserve(self._database, reservation)

    def close_reservation(self, settlement: Settlement) -> Closed | None:
        """Close a reservation by its settlement; None, and no change, if it is closed already or unknown.

        Exception: images that are settled after a sweep has closed their reservation as unknown are charged late, once.
        """
        closed = self._statements.close_reservation(self._database, settlement)
        if closed is None and settlement.outcome == "settle":
            return ledger_common.charge_late(self._database, settlement)
        if closed is not None and settlement.outcome == "unknown":
            metrics.UNKNOWN_OUTCOMES.inc()
        return closed

    def reservation_exists(self, reservation_id: str) -> bool:
        """Whether there is such a reservation, open or closed."""
        found = select(RESERVATIONS.c.id).where(RESERVATIONS.c.id == reservation_id)
        with self._database.connection(read_only=True) as connection:
            return connection.scalar(found) is not None

    def sweep(self, *, before: datetime, owners: Sequence[str] = ()) -> int:
        """Close as unknown the open reservations made `before`, or by the dead processes `owners`.

        Returns how many this call has closed. Several machines may sweep at once.
        """
        stale = or_(RESERVATIONS.c.created_at < before, RESERVATIONS.c.owner.in_(owners))
        with self._database.connection(read_only=True) as connection:
            ids = connection.scalars(select(RESERVATIONS.c.id).where(RESERVATIONS.c.state == "open", stale)).all()
        closed = [self.close_reservation(Settlement(reservation_id, "unknown")) for reservation_id in ids]
        return sum(one is not None for one in closed)

    def open_owners(self) -> Sequence[str]:
        """Ids of the processes that have open reservations."""
        owners = select(RESERVATIONS.c.owner).where(RESERVATIONS.c.state == "open").distinct()
        with self._database.connection(read_only=True) as connection:
            return connection.scalars(owners).all()

    def entries(
        self, first: date, last: date, *, key_id: int | None = None, kind: str | None = None
    ) -> Sequence[LedgerEntry]:
        """Entries by id, from the day `first` to `last` inclusive (UTC), of one key or one kind if given."""
        chosen = select(LedgerEntry).where(*between_days(LedgerEntry.created_at, first, last)).order_by(LedgerEntry.id)
        if key_id is not None:
            chosen = chosen.where(LedgerEntry.key_id == key_id)
        if kind is not None:
            chosen = chosen.where(LedgerEntry.kind == kind)
        with self._database.transaction(read_only=True) as session:
            return session.scalars(chosen).all()

    def check(self) -> list[Mismatch]:
        """The keys whose balance is not the sum of their entries, which means that the ledger is broken.

        The entries of a key without a balance must sum to 0.
        """
        total = func.coalesce(func.sum(LEDGER.c.amount), 0)
        sums = (
            select(KEYS.c.id, func.coalesce(KEYS.c.balance, 0), total)
            .outerjoin(LEDGER, LEDGER.c.key_id == KEYS.c.id)
            .group_by(KEYS.c.id, KEYS.c.balance)
        )
        with self._database.connection(read_only=True) as connection:
            rows = connection.execute(sums).all()
        return [Mismatch(key_id, balance, int(entries)) for key_id, balance, entries in rows if balance != entries]
