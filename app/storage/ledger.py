"""Owns money: reserved before the call, settled on what was delivered, the rest released, each exactly once.

Every change is one transaction that changes the balance and writes the ledger's line for it, so that a key's balance
is always the sum of its lines. Money is in integer micro-units.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

from sqlalchemy import Connection, Row, bindparam, func, insert, literal, or_, select, update
from sqlalchemy.orm import Session

from app.errors import InsufficientBalance
from app.storage.database import Database
from app.storage.tables import KEYS, LEDGER, RESERVATIONS, Entry, within

log = logging.getLogger(__name__)

MAX_BALANCE = 10**18  # SQLite goes on in floats, and PostgreSQL stops, not far beyond

Outcome = Literal["settle", "release", "unknown"]

# Built once: to build a statement takes longer than to run it.
_BALANCE = select(KEYS.c.balance).where(KEYS.c.id == bindparam("key"))
_TAKE = (
    update(KEYS)
    .where(KEYS.c.id == bindparam("key"), or_(KEYS.c.balance.is_(None), KEYS.c.balance >= bindparam("cost")))
    .values(balance=KEYS.c.balance - bindparam("cost"))
    .returning(KEYS.c.balance)
)
_GIVE_BACK = (
    update(KEYS)
    .where(KEYS.c.id == bindparam("key"))
    .values(balance=KEYS.c.balance + bindparam("returned"))
    .returning(KEYS.c.balance)
)
_CREDIT = (
    update(KEYS)
    .where(
        KEYS.c.id == bindparam("key"),
        func.coalesce(KEYS.c.balance, 0) + bindparam("amount") <= literal(MAX_BALANCE),
    )
    .values(balance=func.coalesce(KEYS.c.balance, 0) + bindparam("amount"))
    .returning(KEYS.c.balance)
)
_END = (
    update(RESERVATIONS)
    .where(RESERVATIONS.c.id == bindparam("reservation"), RESERVATIONS.c.state == bindparam("before"))
    .values(state=bindparam("after"))
    .returning(RESERVATIONS)
)
_RESERVE = insert(RESERVATIONS)
_WRITE = insert(LEDGER)


@dataclass(frozen=True)
class Settlement:
    """How a reservation ends: `settle` on `delivered` pictures, `release`, or `unknown` (MiniMax may have drawn).

    The last two charge nothing.
    """

    reservation_id: str
    outcome: Outcome
    delivered: int = 0
    trace_id: str | None = None


@dataclass(frozen=True)
class Mismatch:
    """A key whose balance is not the sum of its entries."""

    key_id: int
    balance: int
    entries: int


class Ledger:
    def __init__(self, database: Database) -> None:
        self._database = database

    def credit(self, key_id: int, amount: int, *, note: str = "") -> int:
        """The new balance. A key without a limit gets one.

        `amount` may be negative: sqlalchemy's IntegrityError where the balance would be, and for an unknown key.
        Raises `ValueError` where it would be above `MAX_BALANCE`.
        """
        with self._database.connection() as connection:
            return credit(connection, key_id, amount, note=note)

    def reserve(
        self, reservation_id: str, key_id: int, *, pictures: int, price: int, request_id: str, owner: str
    ) -> int | None:
        """The balance left, None without a limit. Raises `InsufficientBalance`. `reservation_id` is a new one.

        One conditional UPDATE, so that no number of calls at once can overdraw.
        """
        cost = pictures * price
        with self._database.connection() as connection:
            taken = connection.execute(_TAKE, {"key": key_id, "cost": cost}).one_or_none()
            if taken is None:
                raise InsufficientBalance(connection.scalar(_BALANCE, {"key": key_id}) or 0, cost)
            limited = taken.balance is not None
            columns = {"id": reservation_id, "key_id": key_id, "request_id": request_id, "owner": owner}
            terms = {"price": price, "pictures": pictures, "limited": limited}
            connection.execute(_RESERVE, columns | terms)
            _write(connection, "reserve", key_id, -cost if limited else 0, request_id, reservation_id=reservation_id)
            return None if taken.balance is None else int(taken.balance)

    def end(self, settlement: Settlement) -> tuple[int, int | None]:
        """What was charged, and the balance. A reservation is ended once: for one that has ended, nothing changes.

        But for pictures whose settlement comes after the sweep had to give them up: they are charged then, once.
        """
        with self._database.connection() as connection:
            if reservation := _close(connection, settlement):
                return _end(connection, reservation, settlement)
            if settlement.outcome == "settle" and (swept := _close(connection, settlement, before="unknown")):
                return _charge_late(connection, swept, settlement)
            return 0, None

    def sweep(self, *, before: datetime, owners: Sequence[str] = ()) -> int:
        """Ends as unknown what was reserved `before`, or by `owners` that are gone. Returns how many there were.

        Two machines may sweep at once: each reservation is ended by one of them.
        """
        stale = or_(RESERVATIONS.c.created_at < before, RESERVATIONS.c.owner.in_(owners))
        with self._database.connection(reads=True) as connection:
            ids = connection.scalars(select(RESERVATIONS.c.id).where(RESERVATIONS.c.state == "open", stale)).all()
        return sum(self._end_swept(Settlement(reservation_id, "unknown")) for reservation_id in ids)

    def open_owners(self) -> Sequence[str]:
        """The processes that have open reservations."""
        owners = select(RESERVATIONS.c.owner).where(RESERVATIONS.c.state == "open").distinct()
        with self._database.connection(reads=True) as connection:
            return connection.scalars(owners).all()

    def entries(
        self, first: date, last: date, *, key_id: int | None = None, kind: str | None = None
    ) -> Sequence[Entry]:
        """In their order, from `first` to `last` inclusive, in UTC; of one key, or of one kind, where that is given."""
        chosen = select(Entry).where(*within(Entry.created_at, first, last)).order_by(Entry.id)
        if key_id is not None:
            chosen = chosen.where(Entry.key_id == key_id)
        if kind is not None:
            chosen = chosen.where(Entry.kind == kind)
        with self._database.transaction(reads=True) as session:
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
        with self._database.connection(reads=True) as connection:
            rows = connection.execute(sums).all()
        return [Mismatch(key_id, balance, int(entries)) for key_id, balance, entries in rows if balance != entries]

    def _end_swept(self, settlement: Settlement) -> bool:
        with self._database.connection() as connection:
            reservation = _close(connection, settlement)
            if reservation:
                _end(connection, reservation, settlement)
            return reservation is not None


def credit(connection: Connection | Session, key_id: int, amount: int, *, note: str = "") -> int:
    """A credit inside somebody's transaction. See `Ledger.credit`."""
    fault = ValueError(f"No balance may be above {MAX_BALANCE} micro-units.")
    if abs(amount) > MAX_BALANCE:
        raise fault
    _write(connection, "credit", key_id, amount, note)
    credited = connection.execute(_CREDIT, {"key": key_id, "amount": amount}).one_or_none()
    if credited is None:
        raise fault
    return int(credited.balance)


def _close(connection: Connection, settlement: Settlement, before: str = "open") -> Row[Any] | None:
    """The reservation, for the one who ends it; None for all others."""
    states = {"before": before, "after": settlement.outcome}
    return connection.execute(_END, {"reservation": settlement.reservation_id, **states}).one_or_none()


def _end(connection: Connection, reservation: Row[Any], settlement: Settlement) -> tuple[int, int | None]:
    charged = _price(reservation, settlement)
    returned = reservation.pictures * reservation.price - charged if reservation.limited else 0
    _write_end(connection, reservation, settlement, returned, charged)
    # Last, as all calls of a key wait here for each other.
    return charged, connection.scalar(_GIVE_BACK, {"key": reservation.key_id, "returned": returned})


def _charge_late(connection: Connection, reservation: Row[Any], settlement: Settlement) -> tuple[int, int | None]:
    # What was reserved has been given back, and may be spent.
    charged = _price(reservation, settlement)
    cost = charged if reservation.limited else 0
    taken = connection.execute(_TAKE, {"key": reservation.key_id, "cost": cost}).one_or_none()
    if taken is None:
        log.error("Delivered, swept, and no longer paid for by the balance: %s", settlement.reservation_id)
        cost = charged = 0
    _write_end(connection, reservation, settlement, -cost, charged)
    return charged, connection.scalar(_BALANCE, {"key": reservation.key_id})


def _price(reservation: Row[Any], settlement: Settlement) -> int:
    delivered = settlement.delivered if settlement.outcome == "settle" else 0
    return int(min(delivered, reservation.pictures) * reservation.price)


def _write_end(
    connection: Connection, reservation: Row[Any], settlement: Settlement, amount: int, charged: int
) -> None:
    more = {"charged": charged, "reservation_id": reservation.id, "trace_id": settlement.trace_id}
    _write(connection, settlement.outcome, reservation.key_id, amount, reservation.request_id, **more)


def _write(connection: Connection | Session, kind: str, key_id: int, amount: int, request_id: str, **more: Any) -> None:
    columns = {"charged": 0, "reservation_id": None, "trace_id": None, **more}
    line = {"kind": kind, "key_id": key_id, "amount": amount, "request_id": request_id}
    connection.execute(_WRITE, line | columns)
