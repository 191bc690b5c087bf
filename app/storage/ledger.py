"""Ledger: reservations, settlements, releases and credits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TypeVar

from sqlalchemy import Select, func, or_, select

from app import metrics
from app.storage import ledger_common, ledger_postgresql, ledger_sqlite
from app.storage.database import Database
from app.storage.reservations import Closed, LedgerStatements, Reservation, Settlement
from app.storage.tables import KEYS, LEDGER, RESERVATIONS, LedgerEntry, between_days
from app.storage.writer import DirectWriter, Writer

T = TypeVar("T")
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

    def __init__(self, database: Database, writer: Writer | None = None) -> None:
        """`writer` commits reservations and settlements; by default each in a transaction of its own."""
        self._database = database
        self._writer = writer or DirectWriter(database)
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
        return self._writer.write(
            lambda connection: self._statements.reserve(connection, reservation),
            order=reservation.key_id,
            single_statement=True,
        )

    def close_reservation(self, settlement: Settlement, *, key_id: int = 0) -> Closed | None:
        """Close a reservation by its settlement; None, and no change, if it is closed already or unknown.

        `key_id` is whose it is, where that is known: writes of one transaction are sorted by it.

        Exception: images that are settled after a sweep has closed their reservation as unknown are charged late, once.
        """
        closed = self._writer.write(
            lambda connection: self._statements.close_reservation(connection, settlement),
            order=key_id,
            single_statement=True,
        )
        if closed is None and settlement.outcome == "settle":
            return self._writer.write(
                lambda connection: ledger_common.charge_late(connection, settlement), order=key_id
            )
        if closed is not None and settlement.outcome == "unknown":
            metrics.UNKNOWN_OUTCOMES.inc()
        return closed

    def balance(self, key_id: int) -> int | None:
        """The balance of a key, without what is reserved; None without a limit."""
        found: Sequence[int | None] = self._read(select(KEYS.c.balance).where(KEYS.c.id == key_id))
        return found[0] if found else None

    def reservation_exists(self, reservation_id: str) -> bool:
        """Whether there is such a reservation, open or closed."""
        return bool(self._read(select(RESERVATIONS.c.id).where(RESERVATIONS.c.id == reservation_id)))

    def sweep(self, *, before: datetime, owners: Sequence[str] = ()) -> int:
        """Close as unknown the open reservations made `before`, or by the dead processes `owners`.

        Returns how many this call has closed. Several machines may sweep at once.
        """
        stale = or_(RESERVATIONS.c.created_at < before, RESERVATIONS.c.owner.in_(owners))
        ids = self._read(select(RESERVATIONS.c.id).where(RESERVATIONS.c.state == "open", stale))
        closed = [self.close_reservation(Settlement(reservation_id, "unknown")) for reservation_id in ids]
        return sum(one is not None for one in closed)

    def open_owners(self) -> Sequence[str]:
        """Ids of the processes that have open reservations."""
        return self._read(select(RESERVATIONS.c.owner).where(RESERVATIONS.c.state == "open").distinct())

    def _read(self, query: Select[T]) -> Sequence[T]:
        def read() -> Sequence[T]:
            with self._database.connection(read_only=True) as connection:
                return connection.scalars(query).all()

        return self._database.reader_threads.call(read)

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
