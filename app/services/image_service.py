"""Owns one drawing from request to answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from app.accounts.caller import Caller
from app.accounts.limiter import Limiter
from app.accounts.receipt import Receipt
from app.accounts.till import Till
from app.image_request import ImageRequest
from app.minimax.answer import Answer
from app.services.payload import build_payload


class Minimax(Protocol):
    """What the service needs of a client; raises `MinimaxError` for all but an answer with pictures."""

    def generate_images(self, payload: Mapping[str, Any]) -> Answer: ...


class ImageService:
    def __init__(self, minimax: Minimax, limiter: Limiter, till: Till) -> None:
        self._minimax = minimax
        self._limiter = limiter
        self._till = till

    def generate(self, caller: Caller, request: ImageRequest, request_id: str, receipt: Receipt) -> Answer:
        """Raises a `GatewayError`. What can refuse a valid request stands here in its order, the cheapest first.

        Before it come 401, 503 (full) and, as the body is read, 408, 413 and 400.
        """
        caller.check_model(request.model)  # 403
        with (
            self._limiter.admit(caller, request.n, receipt),  # 429, of the rate
            self._till.open(caller, request, request_id, receipt) as charge,  # 429, of the balance
        ):
            answer = self._minimax.generate_images(build_payload(request))
            charge.settle(answer)
            return answer
