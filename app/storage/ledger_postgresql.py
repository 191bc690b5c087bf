"""Ledger statements for PostgreSQL: one round trip each, which is also how long the row of the key is locked.

Each part of a statement reads from the part before it, which makes PostgreSQL run them in this order.
"""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import Connection, text

from app.errors import InsufficientBalance
from app.storage.ledger_common import balance_of
from app.storage.reservations import Closed, Reservation, Settlement
from app.storage.times import now

_RESERVE = text("""
    WITH taken AS (
        UPDATE api_keys SET balance = balance - :cost
        WHERE id = :key_id AND (balance IS NULL OR balance >= :cost)
        RETURNING balance, balance IS NOT NULL AS limited
    ), reserved AS (
        INSERT INTO reservations (id, key_id, request_id, owner, price, pictures, limited, state, created_at)
        SELECT :reservation_id, :key_id, :request_id, :owner, :price, :images, limited, 'open', :now FROM taken
    ), written AS (
        INSERT INTO ledger (kind, key_id, amount, charged, request_id, note, reservation_id, created_at)
        SELECT 'reserve', :key_id, CASE WHEN limited THEN -:cost ELSE 0 END, 0, :request_id, '', :reservation_id, :now
        FROM taken
    )
    SELECT balance FROM taken
""")

_CLOSE = text("""
    WITH closed AS (
        UPDATE reservations SET state = :outcome
        WHERE id = :reservation_id AND state = 'open'
        RETURNING id, key_id, request_id, state, limited, price * pictures AS cost,
            price * CASE WHEN :outcome = 'settle' THEN LEAST(:delivered, pictures) ELSE 0 END AS charged
    ), amounts AS (
        SELECT id, key_id, request_id, state, charged, CASE WHEN limited THEN cost - charged ELSE 0 END AS returned
        FROM closed
    ), written AS (
        INSERT INTO ledger (kind, key_id, amount, charged, request_id, note, reservation_id, trace_id, created_at)
        SELECT state, key_id, returned, charged, request_id, '', id, :trace_id, :now FROM amounts
    ), returned_to_key AS (
        UPDATE api_keys SET balance = balance + returned FROM amounts WHERE api_keys.id = key_id
        RETURNING balance
    )
    SELECT charged, balance FROM amounts, returned_to_key
""")


def reserve(connection: Connection, reservation: Reservation) -> int | None:
    """See `app.storage.reservations.LedgerStatements`."""
    values = asdict(reservation) | {"cost": reservation.cost, "now": now()}
    taken = connection.execute(_RESERVE, values).one_or_none()
    if taken is None:
        raise InsufficientBalance(balance_of(connection, reservation.key_id) or 0, reservation.cost)
    balance: int | None = taken.balance
    return balance


def close_reservation(connection: Connection, settlement: Settlement) -> Closed | None:
    """See `app.storage.reservations.LedgerStatements`."""
    closed = connection.execute(_CLOSE, asdict(settlement) | {"now": now()}).one_or_none()
    return None if closed is None else Closed(closed.charged, closed.balance)
