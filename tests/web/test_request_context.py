"""Headers that a response has before its call has ended."""

from __future__ import annotations

import pytest

from app.errors import GatewayError
from app.web.request_context import RequestContext

CHARGE = {"x-amux-charged", "x-amux-balance"}


@pytest.mark.parametrize(
    ("fields", "has_charge"),
    [
        ({}, True),
        ({"is_deferred": True}, False),
        ({"is_deferred": True, "is_earlier": True}, True),
    ],
    ids=["plain", "the call still runs", "an earlier call costs nothing"],
)
def test_a_charge_is_told_once_it_is_final(fields: dict[str, bool], has_charge: bool) -> None:
    """`0` on the head of a stream would be untrue if the images are charged later."""
    context = RequestContext("id", **fields)  # type: ignore[arg-type]
    context.receipt.charged, context.receipt.balance = 0, 100
    assert (context.headers().keys() >= CHARGE, bool(context.headers().keys() & CHARGE)) == (has_charge, has_charge)
    context.set_error(GatewayError())
    assert context.headers().keys() >= CHARGE
