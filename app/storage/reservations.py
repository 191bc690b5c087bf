"""Reservation and settlement data types. Money is in micro-units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from sqlalchemy import Connection

Outcome = Literal["settle", "release", "unknown"]


@dataclass(frozen=True)
class Reservation:
    """The highest cost of one call: `images` images at `price` each.

    `reservation_id` is new and unique. `owner` is the `process_id` of the process that makes the call.
    """

    reservation_id: str
    key_id: int
    request_id: str
    owner: str
    images: int
    price: int

    @property
    def cost(self) -> int:
        return self.images * self.price


@dataclass(frozen=True)
class Settlement:
    """How a reservation is closed.

    `settle` charges the `delivered` images. `release` charges nothing. `unknown` charges nothing either, but MiniMax
    may have drawn the images. The fields are those of the journal entries of kind `end`.
    """

    reservation_id: str
    outcome: Outcome
    delivered: int = 0
    trace_id: str | None = None

    def charge(self, images: int, price: int) -> int:
        """The charge, for a reservation of `images` images: no more than those are charged."""
        return min(self.delivered, images) * price if self.outcome == "settle" else 0


class Closed(NamedTuple):
    """A closed reservation: what was charged, and the key's balance after it, None without a limit."""

    charged: int
    balance: int | None


class LedgerStatements(Protocol):
    """What each database does in its own way. Each is one transaction that changes balance and ledger together."""

    def reserve(self, connection: Connection, reservation: Reservation) -> int | None:
        """Take the cost from the balance, which concurrent calls cannot overdraw.

        Returns the remaining balance, None without a limit. Raises `InsufficientBalance`.
        """
        ...

    def close_reservation(self, connection: Connection, settlement: Settlement) -> Closed | None:
        """Close an open reservation; None if it is not open. Of concurrent calls, one closes it."""
        ...
