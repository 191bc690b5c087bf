"""The ledger agrees with a model in plain Python after any sequence of operations."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule
from hypothesis.stateful import run_state_machine_as_test as run
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from app.errors import InsufficientBalance
from app.storage.api_keys import ApiKeyStore
from app.storage.database import Database
from app.storage.ledger import Ledger
from app.storage.reservations import Outcome, Reservation, Settlement
from app.storage.tables import LedgerEntry, ReservationRecord
from app.storage.times import now

_numbers = itertools.count()


@dataclass
class Reserved:
    """A reservation in the model. `ended` is its outcome, None if it is open."""

    key: int
    images: int
    price: int
    owner: str
    limited: bool
    ended: str | None = None


class Machine(RuleBasedStateMachine):
    database: Database

    keys = Bundle("keys")
    reservations = Bundle("reservations")

    def __init__(self) -> None:
        super().__init__()
        self.store = ApiKeyStore(self.database)
        self.ledger = Ledger(self.database)
        self.names: dict[int, str] = {}
        self.balances: dict[int, int | None] = {}
        self.reserved: dict[str, Reserved] = {}
        self.charged: dict[int, int] = {}

    @rule(target=keys, balance=st.none() | st.integers(0, 2000))
    def create(self, balance: int | None) -> int:
        name = f"key {next(_numbers)}"
        self.store.create(name, balance=balance)
        key_id = self.store.get(name).id
        self.names[key_id], self.balances[key_id], self.charged[key_id] = name, balance, 0
        return key_id

    @rule(
        target=reservations,
        key=keys,
        images=st.integers(1, 9),
        price=st.sampled_from([0, 1, 100, 10**15]),
        owner=st.sampled_from(["one", "two"]),
    )
    def reserve(self, key: int, images: int, price: int, owner: str) -> object:
        cost, balance = images * price, self.balances[key]
        reservation_id = f"{next(_numbers)}"
        try:
            left = self.ledger.reserve(Reservation(reservation_id, key, "r", self._own(owner), images, price))
        except InsufficientBalance:
            assert balance is not None
            assert balance < cost
            return multiple()
        self.balances[key] = balance - cost if balance is not None else None
        assert left == self.balances[key]
        self.reserved[reservation_id] = Reserved(key, images, price, owner, balance is not None)
        return reservation_id

    @rule(
        reservation=reservations,
        outcome=st.sampled_from(["settle", "settle", "release", "unknown"]),
        delivered=st.integers(0, 10),
    )
    def end(self, reservation: str, outcome: Outcome, delivered: int) -> None:
        known = self.reserved[reservation]
        expected = self._ends(known, outcome, delivered)
        assert self.ledger.close_reservation(Settlement(reservation, outcome, delivered)) == expected

    def _ends(self, known: Reserved, outcome: Outcome, delivered: int) -> tuple[int, int | None] | None:
        cost = min(delivered, known.images) * known.price if outcome == "settle" else 0
        is_late = known.ended == "unknown" and outcome == "settle"
        if known.ended is not None and not is_late:
            return None
        known.ended = outcome
        balance = self.balances[known.key]
        if known.limited and balance is not None:
            held = 0 if is_late else known.images * known.price
            if balance + held < cost:
                return 0, balance
            self.balances[known.key] = balance + held - cost
        self.charged[known.key] += cost
        return cost, self.balances[known.key]

    @rule(key=keys, amount=st.integers(-500, 2000))
    def credit(self, key: int, amount: int) -> None:
        balance = (self.balances[key] or 0) + amount
        if balance < 0:
            with pytest.raises(IntegrityError):
                self.ledger.credit(key, amount)
        else:
            assert self.ledger.credit(key, amount) == balance
            self.balances[key] = balance

    @rule(key=consumes(keys))
    def revoke(self, key: int) -> None:
        """What is in flight is settled all the same."""
        self.store.revoke(self.names[key])

    @rule(owner=st.sampled_from(["one", "two"]))
    def sweep_an_owner(self, owner: str) -> None:
        swept = [known for known in self.reserved.values() if known.ended is None and known.owner == owner]
        before = now() - timedelta(days=1)
        assert self.ledger.sweep(before=before, owners=[self._own(owner)]) == len(swept)
        for known in swept:
            self._ends(known, "unknown", 0)

    @rule()
    def sweep_by_age(self) -> None:
        swept = [known for known in self.reserved.values() if known.ended is None]
        assert self.ledger.sweep(before=now() + timedelta(seconds=1)) == len(swept)
        for known in swept:
            self._ends(known, "unknown", 0)

    @invariant()
    def agrees(self) -> None:
        assert self.ledger.check() == []
        assert {key: self.store.by_id(key).balance for key in self.balances} == self.balances
        assert all(balance is None or balance >= 0 for balance in self.balances.values())
        with self.database.transaction(read_only=True) as session:
            states = {
                row.id: row.state for row in session.scalars(select(ReservationRecord)) if row.id in self.reserved
            }
            entries = [row for row in session.scalars(select(LedgerEntry)) if row.key_id in self.balances]
        assert states == {id_: known.ended or "open" for id_, known in self.reserved.items()}
        charged = dict.fromkeys(self.balances, 0)
        for entry in entries:
            charged[entry.key_id] += entry.charged
        assert charged == self.charged

    def teardown(self) -> None:
        self.ledger.sweep(before=now() + timedelta(seconds=1))

    def _own(self, owner: str) -> str:
        return f"{id(self)}-{owner}"


def test_ledger_agrees_with_its_model(database: Database) -> None:
    machine = type("BoundMachine", (Machine,), {"database": database})
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    run(machine, settings=settings(max_examples=30, stateful_step_count=25, suppress_health_check=checks))
