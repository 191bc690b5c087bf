"""Ledger billing: reserve before the call, settle or release after it."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace

from app.accounts.api_key import Caller
from app.accounts.receipt import Receipt
from app.errors import DatabaseUnavailable, InsufficientBalance, UpstreamError
from app.model_catalog import Model
from app.storage.database import CommitOutcomeUnknown
from app.storage.journal import Journal
from app.storage.ledger import Ledger
from app.storage.process_identity import process_id
from app.storage.reservations import Outcome, Reservation, Settlement

log = logging.getLogger(__name__)


class LedgerReservation:
    """Implements `app.accounts.billing.Reservation`. `settlement` is how it is closed when the context ends."""

    def __init__(self, reservation_id: str) -> None:
        # Applies to exceptions other than `UpstreamError`, after which it is unknown whether MiniMax has drawn.
        self.settlement = Settlement(reservation_id, "unknown")
        self._settled = False

    def settle(self, images: int, trace_id: str | None) -> None:
        self._settled = True
        self._close("settle", images, trace_id)

    def release_unless_settled(self) -> None:
        if not self._settled:
            self._close("release", 0, None)

    def fail(self, error: UpstreamError) -> None:
        self._close("unknown" if error.outcome_unknown else "release", 0, error.trace_id)

    def _close(self, outcome: Outcome, images: int, trace_id: str | None) -> None:
        self.settlement = replace(self.settlement, outcome=outcome, delivered=images, trace_id=trace_id)


class LedgerBilling:
    """Implements `app.accounts.billing.Billing` by the ledger, and by the journal while the database is unavailable."""

    def __init__(self, ledger: Ledger, journal: Journal, prices: Mapping[str, int]) -> None:
        """`prices` are micro-units an image, by the model's id."""
        self._ledger = ledger
        self._journal = journal
        self._prices = prices

    @contextmanager
    def reserve(
        self, caller: Caller, model: Model, images: int, request_id: str, receipt: Receipt
    ) -> Iterator[LedgerReservation]:
        if caller.key_id is None:
            raise ValueError("only a stored key can be charged")
        reservation = Reservation(
            reservation_id=uuid.uuid4().hex,
            key_id=caller.key_id,
            request_id=request_id,
            owner=process_id(),
            images=images,
            price=self._prices[model.id],
        )
        self._reserve(reservation, receipt)
        open_reservation = LedgerReservation(reservation.reservation_id)
        try:
            yield open_reservation
            open_reservation.release_unless_settled()
        except UpstreamError as error:
            open_reservation.fail(error)
            raise
        finally:
            self._close(reservation, open_reservation.settlement, receipt)

    def check(self, caller: Caller, model: Model, images: int) -> None:
        balance, cost = self._ledger.balance(caller.key_id or 0), images * self._prices[model.id]
        if balance is not None and balance < cost:
            raise InsufficientBalance(balance, cost)

    def _reserve(self, reservation: Reservation, receipt: Receipt) -> None:
        receipt.charged = 0
        try:
            receipt.balance = self._ledger.reserve(reservation)
        except InsufficientBalance as error:
            receipt.balance = error.balance
            raise
        except CommitOutcomeUnknown:  # the reservation may exist, and the call will not be made
            self._journal_settlement(reservation, Settlement(reservation.reservation_id, "release"))
            raise

    def _close(self, reservation: Reservation, settlement: Settlement, receipt: Receipt) -> None:
        """Never raises: the images have been delivered; a settlement that fails goes to the journal."""
        try:
            closed = self._ledger.close_reservation(settlement, key_id=reservation.key_id)
        except DatabaseUnavailable:
            pass
        except Exception:
            log.exception("Settlement failed: %s", settlement.reservation_id)
        else:
            receipt.charged, receipt.balance = closed or (0, None)
            return
        self._journal_settlement(reservation, settlement)
        receipt.charged = settlement.charge(reservation.images, reservation.price)
        receipt.balance = None

    def _journal_settlement(self, reservation: Reservation, settlement: Settlement) -> None:
        try:
            self._journal.add("end", reservation.reservation_id, asdict(settlement), request_id=reservation.request_id)
        except OSError:  # maintenance will close the reservation as unknown
            log.critical("Settlement lost (%s): journal not writable", settlement.outcome, extra=asdict(settlement))
