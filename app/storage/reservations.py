"""Owns what moves money: a hold before the call, and a settlement that ends it. Money is in integer micro-units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from app.storage.database import Database

Outcome = Literal["settle", "release", "unknown"]


@dataclass(frozen=True)
class Reservation:
    """What one call may cost: `pictures` times `price`. `reservation_id` is a new one, `owner` the process it is of."""

    reservation_id: str
    key_id: int
    request_id: str
    owner: str
    pictures: int
    price: int

    @property
    def cost(self) -> int:
        return self.pictures * self.price


@dataclass(frozen=True)
class Settlement:
    """How a reservation ends: `settle` on `delivered` pictures, `release`, or `unknown` (MiniMax may have drawn).

    The last two charge nothing.
    """

    reservation_id: str
    outcome: Outcome
    delivered: int = 0
    trace_id: str | None = None

    def charge(self, pictures: int, price: int) -> int:
        """Of a hold for `pictures`: more of them than were asked for are not what was agreed."""
        return min(self.delivered, pictures) * price if self.outcome == "settle" else 0


class Closed(NamedTuple):
    """`balance` is None without a limit."""

    charged: int
    balance: int | None


class LedgerStatements(Protocol):
    """Each is one transaction that changes the balance and writes the ledger's line for it."""

    def reserve(self, database: Database, hold: Reservation) -> int | None:
        """The balance left, None without a limit. Raises `InsufficientBalance`: no number of calls can overdraw."""
        ...

    def close_reservation(self, database: Database, settlement: Settlement) -> Closed | None:
        """None where the reservation is not open: of all who would end it, one does."""
        ...
