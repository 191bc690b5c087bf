"""Owns money: reserved before the call, settled on what was delivered, the rest released, each exactly once.

Every change is one transaction that changes the balance and writes the ledger's line for it, so that a key's balance
is always the sum of its lines. Money is in integer micro-units.
"""

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

# SQLite changes one table a statement.
_STATEMENTS: dict[str, LedgerStatements] = {"sqlite": ledger_sqlite, "postgresql": ledger_postgresql}


@dataclass(frozen=True)
class Mismatch:
    """A key whose balance is not the sum of its entries."""

    key_id: int
    balance: int
    entries: int


class Ledger:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._statements = _STATEMENTS[database.engine.dialect.name]

    def credit(self, key_id: int, amount: int, *, note: str = "") -> int:
        """The new balance. A key without a limit gets one.

        `amount` may be negative: sqlalchemy's IntegrityError where the balance would be, and for an unknown key.
        Raises `ValueError` where it would be above `MAX_BALANCE`.
        """
        with self._database.connection() as connection:
            return ledger_common.credit(connection, key_id, amount, note=note)

    def reserve(self, hold: Reservation) -> int | None:
        """The balance left, None without a limit. Raises `InsufficientBalance`."""
        return self._statements.reserve(self._database, hold)

    def close_reservation(self, settlement: Settlement) -> Closed | None:
        """A reservation is ended once: for one that has ended, nothing changes, and the answer is None.

        But for pictures whose settlement comes after the sweep had to give them up: they are charged then, once.
        """
        ended = self._statements.close_reservation(self._database, settlement)
        if ended is None and settlement.outcome == "settle":
            return ledger_common.charge_late(self._database, settlement)
        if ended is not None and settlement.outcome == "unknown":
            metrics.UNKNOWN_OUTCOMES.inc()
        return ended

    def reservation_exists(self, reservation_id: str) -> bool:
        """Whether there is, or ever was, such a reservation."""
        found = select(RESERVATIONS.c.id).where(RESERVATIONS.c.id == reservation_id)
        with self._database.connection(read_only=True) as connection:
            return connection.scalar(found) is not None

    def sweep(self, *, before: datetime, owners: Sequence[str] = ()) -> int:
        """Ends as unknown what was reserved `before`, or by `owners` that are gone. Returns how many there were.

        Two machines may sweep at once: each reservation is ended by one of them.
        """
        stale = or_(RESERVATIONS.c.created_at < before, RESERVATIONS.c.owner.in_(owners))
        with self._database.connection(read_only=True) as connection:
            ids = connection.scalars(select(RESERVATIONS.c.id).where(RESERVATIONS.c.state == "open", stale)).all()
        ended = [self.close_reservation(Settlement(reservation_id, "unknown")) for reservation_id in ids]
        return sum(one is not None for one in ended)

    def open_owners(self) -> Sequence[str]:
        """The processes that have open reservations."""
        owners = select(RESERVATIONS.c.owner).where(RESERVATIONS.c.state == "open").distinct()
        with self._database.connection(read_only=True) as connection:
            return connection.scalars(owners).all()

    def entries(
        self, first: date, last: date, *, key_id: int | None = None, kind: str | None = None
    ) -> Sequence[LedgerEntry]:
        """In their order, from `first` to `last` inclusive, in UTC; of one key, or of one kind, where that is given."""
        chosen = select(LedgerEntry).where(*between_days(LedgerEntry.created_at, first, last)).order_by(LedgerEntry.id)
        if key_id is not None:
            chosen = chosen.where(LedgerEntry.key_id == key_id)
        if kind is not None:
            chosen = chosen.where(LedgerEntry.kind == kind)
        with self._database.transaction(read_only=True) as session:
            return session.scalars(chosen).all()

    def check(self) -> list[Mismatch]:
        """The keys whose balance is not the sum of their entries: none, or the ledger is broken.

        The entries of a key without a limit add up to nothing.
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
