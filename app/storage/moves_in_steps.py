"""Owns the moves as transactions of several statements: SQLite's, and on both what is too rare to be joined in one."""

from __future__ import annotations

import logging
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, insert, literal, or_, select, update
from sqlalchemy.orm import Session

from app.errors import InsufficientBalance
from app.storage.database import Database
from app.storage.moves import Ended, Hold, Settlement
from app.storage.tables import KEYS, LEDGER, RESERVATIONS

log = logging.getLogger(__name__)

MAX_BALANCE = 10**18  # SQLite goes on in floats, and PostgreSQL stops, not far beyond

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
_CLOSE = (
    update(RESERVATIONS)
    .where(RESERVATIONS.c.id == bindparam("reservation"), RESERVATIONS.c.state == bindparam("before"))
    .values(state=bindparam("after"))
    .returning(RESERVATIONS)
)
_HOLD = insert(RESERVATIONS)
_WRITE = insert(LEDGER)


def reserve(database: Database, hold: Hold) -> int | None:
    """See `app.storage.moves.Moves`."""
    with database.connection() as connection:
        taken = connection.execute(_TAKE, {"key": hold.key_id, "cost": hold.cost}).one_or_none()
        if taken is None:
            raise InsufficientBalance(balance_of(connection, hold.key_id) or 0, hold.cost)
        limited = taken.balance is not None
        columns = {"id": hold.reservation_id, "key_id": hold.key_id, "request_id": hold.request_id, "owner": hold.owner}
        terms = {"price": hold.price, "pictures": hold.pictures, "limited": limited}
        connection.execute(_HOLD, columns | terms)
        _write(
            connection,
            "reserve",
            hold.key_id,
            -hold.cost if limited else 0,
            request_id=hold.request_id,
            reservation_id=hold.reservation_id,
        )
        return int(taken.balance) if limited else None


def end(database: Database, settlement: Settlement) -> Ended | None:
    """See `app.storage.moves.Moves`."""
    with database.connection() as connection:
        reservation = _close(connection, settlement, before="open")
        if reservation is None:
            return None
        charged = settlement.charge(reservation.pictures, reservation.price)
        returned = reservation.pictures * reservation.price - charged if reservation.limited else 0
        _write_end(connection, reservation, settlement, returned, charged)
        # Last, as all calls of a key wait here for each other.
        return Ended(charged, connection.scalar(_GIVE_BACK, {"key": reservation.key_id, "returned": returned}))


def charge_late(database: Database, settlement: Settlement) -> Ended | None:
    """What was swept before it could be settled is charged after all, once. None where there was no such."""
    with database.connection() as connection:
        reservation = _close(connection, settlement, before="unknown")
        if reservation is None:
            return None
        # What was reserved has been given back, and may be spent.
        charged = settlement.charge(reservation.pictures, reservation.price)
        cost = charged if reservation.limited else 0
        taken = connection.execute(_TAKE, {"key": reservation.key_id, "cost": cost}).one_or_none()
        if taken is None:
            log.error("Delivered, swept, and no longer paid for by the balance: %s", settlement.reservation_id)
            cost = charged = 0
        _write_end(connection, reservation, settlement, -cost, charged)
        return Ended(charged, balance_of(connection, reservation.key_id))


def credit(connection: Connection | Session, key_id: int, amount: int, *, note: str = "") -> int:
    """A credit inside somebody's transaction. See `app.storage.ledger.Ledger.credit`."""
    fault = ValueError(f"No balance may be above {MAX_BALANCE} micro-units.")
    if abs(amount) > MAX_BALANCE:
        raise fault
    _write(connection, "credit", key_id, amount, note=note)
    credited = connection.execute(_CREDIT, {"key": key_id, "amount": amount}).one_or_none()
    if credited is None:
        raise fault
    return int(credited.balance)


def balance_of(connection: Connection, key_id: int) -> int | None:
    return connection.scalar(_BALANCE, {"key": key_id})


def _close(connection: Connection, settlement: Settlement, *, before: str) -> Row[Any] | None:
    """The reservation, for the one who ends it; None for all others."""
    states = {"before": before, "after": settlement.outcome}
    return connection.execute(_CLOSE, {"reservation": settlement.reservation_id, **states}).one_or_none()


def _write_end(
    connection: Connection, reservation: Row[Any], settlement: Settlement, amount: int, charged: int
) -> None:
    _write(
        connection,
        settlement.outcome,
        reservation.key_id,
        amount,
        charged=charged,
        request_id=reservation.request_id,
        reservation_id=reservation.id,
        trace_id=settlement.trace_id,
    )


def _write(connection: Connection | Session, kind: str, key_id: int, amount: int, **more: Any) -> None:
    """`more` are other columns of `Entry`."""
    columns = {"charged": 0, "request_id": "", "note": "", "reservation_id": None, "trace_id": None, **more}
    connection.execute(_WRITE, {"kind": kind, "key_id": key_id, "amount": amount, **columns})
