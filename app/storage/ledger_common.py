"""Ledger statements that SQLite and PostgreSQL share: credits, late settlements, and parts of the others."""

from __future__ import annotations

import logging
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, insert, literal, or_, select, update
from sqlalchemy.orm import Session

from app.storage.reservations import Closed, Settlement
from app.storage.tables import KEYS, LEDGER, RESERVATIONS

log = logging.getLogger(__name__)

MAX_BALANCE = 10**18  # above 64 bits SQLite calculates in floats and PostgreSQL raises an error

# Built once, because building a statement takes longer than running it.
_BALANCE = select(KEYS.c.balance).where(KEYS.c.id == bindparam("key"))
TAKE_FROM_BALANCE = (
    update(KEYS)
    .where(KEYS.c.id == bindparam("key"), or_(KEYS.c.balance.is_(None), KEYS.c.balance >= bindparam("cost")))
    .values(balance=KEYS.c.balance - bindparam("cost"))
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
_CLOSE = (
    update(RESERVATIONS)
    .where(RESERVATIONS.c.id == bindparam("reservation"), RESERVATIONS.c.state == bindparam("before"))
    .values(state=bindparam("after"))
    .returning(RESERVATIONS)
)
_WRITE = insert(LEDGER)


def charge_late(connection: Connection, settlement: Settlement) -> Closed | None:
    """Charge a reservation that was swept before it was settled; None if there is none in the state unknown.

    Charges nothing, and logs an error, if the balance no longer covers it.
    """
    reservation = close_row(connection, settlement, before="unknown")
    if reservation is None:
        return None
    # The sweep has returned the reserved amount to the balance, and it may have been spent.
    charged = settlement.charge(reservation.pictures, reservation.price)
    cost = charged if reservation.limited else 0
    taken = connection.execute(TAKE_FROM_BALANCE, {"key": reservation.key_id, "cost": cost}).one_or_none()
    if taken is None:
        log.error("Late settlement not charged, balance too low: %s", settlement.reservation_id)
        cost = charged = 0
    write_closing_entry(connection, reservation, settlement, -cost, charged)
    return Closed(charged, balance_of(connection, reservation.key_id))


def credit(connection: Connection | Session, key_id: int, amount: int, *, note: str = "") -> int:
    """`app.storage.ledger.Ledger.credit` inside a transaction of the caller."""
    too_large = ValueError(f"No balance may be above {MAX_BALANCE} micro-units.")
    if abs(amount) > MAX_BALANCE:
        raise too_large
    write_entry(connection, "credit", key_id, amount, note=note)
    credited = connection.execute(_CREDIT, {"key": key_id, "amount": amount}).one_or_none()
    if credited is None:
        raise too_large
    return int(credited.balance)


def balance_of(connection: Connection, key_id: int) -> int | None:
    """The balance of a key in micro-units, None without a limit."""
    return connection.scalar(_BALANCE, {"key": key_id})


def close_row(connection: Connection, settlement: Settlement, *, before: str) -> Row[Any] | None:
    """Change the state from `before` to the settlement's outcome; returns the row, None if its state is another one."""
    states = {"before": before, "after": settlement.outcome}
    return connection.execute(_CLOSE, {"reservation": settlement.reservation_id, **states}).one_or_none()


def write_closing_entry(
    connection: Connection, reservation: Row[Any], settlement: Settlement, amount: int, charged: int
) -> None:
    write_entry(
        connection,
        settlement.outcome,
        reservation.key_id,
        amount,
        charged=charged,
        request_id=reservation.request_id,
        reservation_id=reservation.id,
        trace_id=settlement.trace_id,
    )


def write_entry(connection: Connection | Session, kind: str, key_id: int, amount: int, **more: Any) -> None:
    """Write a `LedgerEntry`; `more` are its other columns."""
    columns = {"charged": 0, "request_id": "", "note": "", "reservation_id": None, "trace_id": None, **more}
    connection.execute(_WRITE, {"kind": kind, "key_id": key_id, "amount": amount, **columns})
