"""Ledger statements for SQLite: transactions of several statements, because one statement changes one table only."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, insert, update

from app.errors import InsufficientBalance
from app.storage.ledger_common import TAKE_FROM_BALANCE, balance_of, close_row, write_closing_entry, write_entry
from app.storage.reservations import Closed, Reservation, Settlement
from app.storage.tables import KEYS, RESERVATIONS

_RETURN_TO_BALANCE = (
    update(KEYS)
    .where(KEYS.c.id == bindparam("key"))
    .values(balance=KEYS.c.balance + bindparam("returned"))
    .returning(KEYS.c.balance)
)
_RESERVE = insert(RESERVATIONS)


def reserve(connection: Connection, reservation: Reservation) -> int | None:
    """See `app.storage.reservations.LedgerStatements`."""
    taken = connection.execute(TAKE_FROM_BALANCE, {"key": reservation.key_id, "cost": reservation.cost}).one_or_none()
    if taken is None:
        raise InsufficientBalance(balance_of(connection, reservation.key_id) or 0, reservation.cost)
    limited = taken.balance is not None
    connection.execute(
        _RESERVE,
        {
            "id": reservation.reservation_id,
            "key_id": reservation.key_id,
            "request_id": reservation.request_id,
            "owner": reservation.owner,
            "price": reservation.price,
            "pictures": reservation.images,
            "limited": limited,
        },
    )
    write_entry(
        connection,
        "reserve",
        reservation.key_id,
        -reservation.cost if limited else 0,
        request_id=reservation.request_id,
        reservation_id=reservation.reservation_id,
    )
    return int(taken.balance) if limited else None


def close_reservation(connection: Connection, settlement: Settlement) -> Closed | None:
    """See `app.storage.reservations.LedgerStatements`."""
    reservation = close_row(connection, settlement, before="open")
    if reservation is None:
        return None
    charged = settlement.charge(reservation.pictures, reservation.price)
    returned = reservation.pictures * reservation.price - charged if reservation.limited else 0
    write_closing_entry(connection, reservation, settlement, returned, charged)
    # Last, because concurrent calls of a key wait for each other at its row.
    return Closed(charged, connection.scalar(_RETURN_TO_BALANCE, {"key": reservation.key_id, "returned": returned}))
