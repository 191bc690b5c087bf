"""What each outcome of a call charges, and that a failure of the storage does not fail a call that has delivered."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.accounts.api_key import Caller
from app.accounts.receipt import Receipt
from app.errors import DatabaseUnavailable, InsufficientBalance
from app.minimax.error_codes import STATUS_CODES, UNKNOWN_CODE, WITHOUT_CODE, ErrorMapping
from app.minimax.errors import MinimaxError
from app.model_catalog import IMAGE_01
from app.services.image_request import ImageRequest, ImageResult
from app.storage.database import CommitOutcomeUnknown
from app.storage.ledger import Ledger
from app.storage.reservations import Settlement
from app.storage.storage import Storage
from app.storage.tables import LedgerEntry
from tests.storage.conftest import PRICE

OUTCOMES: dict[int | str, ErrorMapping] = dict([*STATUS_CODES.items(), *WITHOUT_CODE.items(), (424242, UNKNOWN_CODE)])


def three_images() -> ImageRequest:
    return ImageRequest(IMAGE_01, "a prompt", 3, "url")


def result(images: int) -> ImageResult:
    return ImageResult(("http://images.example/1.jpeg",) * images, None, "trace", 5)


def upstream_error(code: int | str) -> MinimaxError:
    error = MinimaxError(code)
    error.trace_id = "trace"
    return error


def new_caller(storage: Storage, balance: int | None = 1000) -> Caller:
    return storage.authenticator.authenticate(storage.keys.create("key", balance=balance))


def call(storage: Storage, caller: Caller, outcome: ImageResult | Exception | None) -> Receipt:
    """One call with this outcome."""
    receipt = Receipt()
    with storage.billing.reserve(caller, IMAGE_01, 3, "a-request", receipt) as charge:
        if isinstance(outcome, Exception):
            raise outcome
        if outcome is not None:
            charge.settle(len(outcome.images), outcome.trace_id)
    return receipt


def failed_call(storage: Storage, caller: Caller, error: Exception) -> Receipt:
    receipt = Receipt()
    with (
        pytest.raises(type(error)) as caught,
        storage.billing.reserve(caller, IMAGE_01, 3, "a-request", receipt),
    ):
        raise error
    assert caught.value is error
    return receipt


def last_entry(storage: Storage) -> LedgerEntry:
    with storage.database.transaction(read_only=True) as session:
        return session.scalars(select(LedgerEntry).order_by(LedgerEntry.id.desc())).all()[0]


@pytest.mark.parametrize("delivered", [1, 2, 3])
def test_only_delivered_images_are_charged(storage: Storage, delivered: int) -> None:
    receipt = call(storage, new_caller(storage), result(delivered))
    assert receipt.headers() == {
        "x-amux-charged": str(delivered * PRICE),
        "x-amux-balance": str(1000 - delivered * PRICE),
    }
    entry = last_entry(storage)
    assert (entry.kind, entry.charged, entry.trace_id) == ("settle", delivered * PRICE, "trace")


def test_more_images_than_requested_cost_no_more(storage: Storage) -> None:
    assert call(storage, new_caller(storage), result(9)).charged == 3 * PRICE


def test_unlimited_key_has_a_charge_and_no_balance(storage: Storage) -> None:
    receipt = call(storage, new_caller(storage, None), result(2))
    assert receipt.headers() == {"x-amux-charged": "200"}


@pytest.mark.parametrize("code", OUTCOMES, ids=str)
def test_upstream_errors_charge_nothing(storage: Storage, code: int | str) -> None:
    """If MiniMax may have charged the images, the entry is `unknown` and has MiniMax's trace id."""
    receipt = failed_call(storage, new_caller(storage), upstream_error(code))
    assert receipt.headers() == {"x-amux-charged": "0", "x-amux-balance": "1000"}
    entry = last_entry(storage)
    expected = "unknown" if OUTCOMES[code].outcome_unknown else "release"
    assert (entry.kind, entry.amount, entry.charged, entry.trace_id) == (expected, 300, 0, "trace")
    assert storage.ledger.check() == []


def test_outcome_is_unknown_for_errors_after_sending() -> None:
    assert {code for code, verdict in OUTCOMES.items() if verdict.outcome_unknown} == {
        "upstream_interrupted",
        "upstream_deadline",
        "upstream_invalid_answer",
        "upstream_server_error",
        "answer_not_stored",
    }


@pytest.mark.parametrize("error", [RuntimeError("a bug"), DatabaseUnavailable(), KeyboardInterrupt()], ids=repr)
def test_any_other_exception_is_recorded_as_unknown_and_charges_nothing(storage: Storage, error: Exception) -> None:
    assert failed_call(storage, new_caller(storage), error).charged == 0
    assert last_entry(storage).kind == "unknown"


def test_context_without_a_settlement_charges_nothing(storage: Storage) -> None:
    assert call(storage, new_caller(storage), None).headers() == {"x-amux-charged": "0", "x-amux-balance": "1000"}


def test_insufficient_balance_names_the_balance(storage: Storage) -> None:
    receipt, sent = Receipt(), []
    with (
        pytest.raises(InsufficientBalance) as caught,
        storage.billing.reserve(new_caller(storage, 299), IMAGE_01, 3, "a-request", receipt),
    ):
        sent.append(1)
    assert not sent
    assert (caught.value.http_status, caught.value.should_retry) == (429, False)
    assert "299" in caught.value.message
    assert "300" in caught.value.message
    assert receipt.headers() == {"x-amux-charged": "0", "x-amux-balance": "299"}


@pytest.mark.parametrize(("balance", "passes"), [(299, False), (300, True), (0, False), (None, True)], ids=str)
def test_check_of_the_balance_reserves_nothing(storage: Storage, balance: int | None, passes: bool) -> None:
    caller = new_caller(storage, balance)
    with nullcontext() if passes else pytest.raises(InsufficientBalance, match=rf"\b{balance}\b.*\b300\b"):
        storage.billing.check(caller, IMAGE_01, 3)
    assert storage.ledger.balance(caller.key_id or 0) == balance
    assert storage.ledger.check() == []


def test_static_key_cannot_be_charged(storage: Storage) -> None:
    with pytest.raises(ValueError, match="stored key"):
        call(storage, Caller("static"), None)


# The database is gone: what it would have said is what these tests say in its place.


def failing(error: Exception, act: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """Does `act` all the same, where there is one."""

    def fail(*arguments: Any, **named: Any) -> None:
        if act is not None:
            act(*arguments, **named)
        raise error

    return fail


def test_outage_before_the_reservation_prevents_the_call(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    caller, receipt, sent = new_caller(storage), Receipt(), []
    monkeypatch.setattr(Ledger, "reserve", failing(DatabaseUnavailable()))
    with pytest.raises(DatabaseUnavailable), storage.billing.reserve(caller, IMAGE_01, 3, "a-request", receipt):
        sent.append(1)
    assert not sent
    assert not (tmp_path / "journal").exists()


@pytest.mark.parametrize("was_done", [True, False])
def test_outage_during_the_reservation_leaves_nothing_reserved(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, was_done: bool
) -> None:
    """The outcome of the commit is unknown if the connection breaks at it."""
    caller = new_caller(storage)
    reserve = storage.ledger.reserve if was_done else None
    monkeypatch.setattr(storage.ledger, "reserve", failing(CommitOutcomeUnknown(), reserve))
    with pytest.raises(DatabaseUnavailable), storage.billing.reserve(caller, IMAGE_01, 3, "a-request", Receipt()):
        pass
    assert len(storage.ledger.open_owners()) == was_done
    assert storage.maintenance.run().applied == 1
    assert storage.ledger.open_owners() == []
    assert storage.keys.get("key").balance == 1000


@pytest.mark.parametrize("was_done", [True, False])
@pytest.mark.parametrize("error", [DatabaseUnavailable(), CommitOutcomeUnknown(), RuntimeError("a bug")], ids=repr)
def test_outage_after_the_call_is_settled_once_from_the_journal(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, was_done: bool, error: Exception
) -> None:
    caller = new_caller(storage)
    with monkeypatch.context() as gone:
        done = storage.ledger.close_reservation if was_done else None
        gone.setattr(storage.ledger, "close_reservation", failing(error, done))
        receipt = call(storage, caller, result(9))
    assert receipt.headers() == {"x-amux-charged": "300"}
    assert storage.keys.get("key").balance == 700
    assert storage.maintenance.run().applied == 1
    assert storage.keys.get("key").balance == 700
    assert last_entry(storage).kind == "settle"
    assert storage.ledger.close_reservation(Settlement(last_entry(storage).reservation_id or "", "settle", 3)) is None
    assert storage.ledger.check() == []


def test_unwritable_journal_does_not_fail_the_call(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caller = new_caller(storage)
    (tmp_path / "journal").write_text("a file where a folder should be")
    monkeypatch.setattr(storage.ledger, "close_reservation", failing(DatabaseUnavailable()))
    assert call(storage, caller, result(3)).charged == 300
    [record] = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert "Settlement lost" in record.message
