"""`Billing` interface and `NoBilling`, for a gateway whose callers pay nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from app.accounts.api_key import Caller
from app.accounts.receipt import Receipt
from app.model_catalog import Model


class Reservation(Protocol):
    """The price of one call, taken from the caller's balance until the context of `Billing.reserve` ends."""

    def settle(self, images: int, trace_id: str | None) -> None:
        """Charge for the `images` delivered when the context ends. `trace_id` is the provider's id of the call."""
        ...


class Billing(Protocol):
    """Charges callers for images.

    The price of the requested images is reserved before the upstream call. When the context ends, the delivered
    images are charged and the rest is released. An upstream error whose outcome is unknown charges nothing, and
    is recorded as unknown.
    """

    def reserve(
        self, caller: Caller, model: Model, images: int, request_id: str, receipt: Receipt
    ) -> AbstractContextManager[Reservation]:
        """Reserve the price of `images` images; without `settle`, leaving the context charges nothing.

        Writes the charge and the remaining balance, in micro-units, into `receipt`. Raises `InsufficientBalance` or
        `DatabaseUnavailable` on entry. Leaving the context raises nothing of its own.
        """
        ...

    def check(self, caller: Caller, model: Model, images: int) -> None:
        """Raise `InsufficientBalance` if the balance does not cover the images now, or `DatabaseUnavailable`."""
        ...


class _FreeReservation:
    def settle(self, images: int, trace_id: str | None) -> None:
        """Do nothing: no charge is due."""


class NoBilling:
    @contextmanager
    def reserve(
        self, caller: Caller, model: Model, images: int, request_id: str, receipt: Receipt
    ) -> Iterator[Reservation]:
        yield _FreeReservation()

    def check(self, caller: Caller, model: Model, images: int) -> None:
        """Do nothing: no charge is due."""
