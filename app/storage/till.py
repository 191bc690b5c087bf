"""Owns how one call is paid for: the ledger's words put around the call."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

from app.accounts.caller import Caller
from app.accounts.receipt import Receipt
from app.errors import InsufficientBalance, StorageUnavailable
from app.image_request import ImageRequest
from app.minimax.answer import Answer
from app.minimax.errors import MinimaxError
from app.storage.database import Undecided
from app.storage.journal import Journal
from app.storage.ledger import Ledger
from app.storage.moves import Hold, Outcome, Settlement
from app.storage.owner import this_process

log = logging.getLogger(__name__)


@dataclass
class StoredCharge:
    answer: Answer | None = None

    def settle(self, answer: Answer) -> None:
        self.answer = answer


class StoredTill:
    def __init__(self, ledger: Ledger, journal: Journal, prices: Mapping[str, int]) -> None:
        """`prices` are micro-units a picture, by the model's id."""
        self._ledger = ledger
        self._journal = journal
        self._prices = prices

    @contextmanager
    def open(self, caller: Caller, request: ImageRequest, request_id: str, receipt: Receipt) -> Iterator[StoredCharge]:
        """See `app.accounts.till.Till`."""
        if caller.key_id is None:
            raise ValueError("only a stored key has an account")
        hold = Hold(
            reservation_id=uuid.uuid4().hex,
            key_id=caller.key_id,
            request_id=request_id,
            owner=this_process(),
            pictures=request.n,
            price=self._prices[request.model.id],
        )
        self._reserve(hold, receipt)
        settlement = Settlement(hold.reservation_id, "unknown")  # whatever else happens, MiniMax may have drawn
        charge = StoredCharge()
        try:
            yield charge
            settlement = _settled(settlement, charge.answer)
        except MinimaxError as error:
            outcome: Outcome = "unknown" if error.may_have_drawn else "release"
            settlement = replace(settlement, outcome=outcome, trace_id=error.trace_id)
            raise
        finally:
            self._end(hold, settlement, receipt)

    def _reserve(self, hold: Hold, receipt: Receipt) -> None:
        receipt.charged = 0
        try:
            receipt.balance = self._ledger.reserve(hold)
        except InsufficientBalance as error:
            receipt.balance = error.balance
            raise
        except Undecided:  # it may be reserved after all, and nothing will be sent
            self._keep(hold, Settlement(hold.reservation_id, "release"))
            raise

    def _end(self, hold: Hold, settlement: Settlement, receipt: Receipt) -> None:
        """Whatever happens here, the caller gets the pictures."""
        try:
            ended = self._ledger.end(settlement)
        except StorageUnavailable:
            pass
        except Exception:
            log.exception("A call could not be settled: %s", settlement.reservation_id)
        else:
            receipt.charged, receipt.balance = ended or (0, None)
            return
        self._keep(hold, settlement)
        receipt.charged, receipt.balance = settlement.charge(hold.pictures, hold.price), None

    def _keep(self, hold: Hold, settlement: Settlement) -> None:
        try:
            self._journal.add("end", hold.reservation_id, asdict(settlement), request_id=hold.request_id)
        except OSError:  # the sweep makes it unknown, some time, if it was reserved
            words = "A settlement is lost (%s): the journal cannot be written"
            log.critical(words, settlement.outcome, extra=asdict(settlement))


def _settled(settlement: Settlement, answer: Answer | None) -> Settlement:
    if answer is None:
        return replace(settlement, outcome="release")
    return replace(settlement, outcome="settle", delivered=len(answer.images), trace_id=answer.trace_id)
