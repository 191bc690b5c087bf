"""`Billing` interface and `NoBilling`, for a gateway whose callers pay nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from app.accounts.api_key import Caller
from app.accounts.receipt import Receipt
from app.model_catalog import Model


class Reservation(Protocol):
    """The price of one call, taken from the caller's balance until the context ends."""

    def settle(self, images: int, trace_id: str | None) -> None:
        """Charge for the `images` delivered. `trace_id` is the provider's id of the call, for the ledger."""
        ...


class Billing(Protocol):
    def reserve(
        self, caller: Caller, model: Model, images: int, request_id: str, receipt: Receipt
    ) -> AbstractContextManager[Reservation]:
        """Reserve the price of `images` before anything is sent; without `settle`, leaving the context charges nothing.

        Writes the charge and the balance left, in micro-units, into `receipt`. Raises `InsufficientBalance` or
        `DatabaseUnavailable`.
        """
        ...


class _FreeReservation:
    def settle(self, images: int, trace_id: str | None) -> None:
        """Nothing to pay."""


class NoBilling:
    @contextmanager
    def reserve(
        self, caller: Caller, model: Model, images: int, request_id: str, receipt: Receipt
    ) -> Iterator[Reservation]:
        yield _FreeReservation()
