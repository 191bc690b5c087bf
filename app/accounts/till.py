"""Owns what a till is, and the one that charges nobody."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from app.accounts.caller import Caller
from app.accounts.receipt import Receipt
from app.image_request import ImageRequest
from app.minimax.answer import Answer


class Charge(Protocol):
    def settle(self, answer: Answer) -> None:
        """The pictures are there: they are what is paid for."""
        ...


class Till(Protocol):
    def open(
        self, caller: Caller, request: ImageRequest, request_id: str, receipt: Receipt
    ) -> AbstractContextManager[Charge]:
        """Reserves the price of `request`, before anything is sent; leaving the context without `settle` costs nothing.

        Raises `InsufficientBalance`, or `StorageUnavailable`.
        """
        ...


class _Free:
    def settle(self, answer: Answer) -> None:
        """Nothing to pay."""


class FreeOfCharge:
    @contextmanager
    def open(self, caller: Caller, request: ImageRequest, request_id: str, receipt: Receipt) -> Iterator[Charge]:
        yield _Free()
