"""Generates images: checks, limits, billing, upstream call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from app.accounts.api_key import Caller
from app.accounts.billing import Billing
from app.accounts.rate_limiter import RateLimiter
from app.accounts.receipt import Receipt
from app.services.image_request import ImageRequest, ImageResult
from app.services.payload import build_payload


class Minimax(Protocol):
    """The client that the service needs."""

    def generate_images(self, payload: Mapping[str, Any]) -> ImageResult:
        """Send MiniMax's own fields. Raises `UpstreamError` for everything but a response with images."""


class ImageService:
    """One call of a caller, from the checks to the images. Safe for threads if its parts are."""

    def __init__(self, minimax: Minimax, rate_limiter: RateLimiter, billing: Billing) -> None:
        self._minimax = minimax
        self._rate_limiter = rate_limiter
        self._billing = billing

    def generate(self, caller: Caller, request: ImageRequest, request_id: str, receipt: Receipt) -> ImageResult:
        """Generate images. Checks run cheapest first: model (403), rate limit (429), balance (429).

        `request_id` goes into the ledger; `receipt` is filled with what response headers tell of limits and charges.
        Raises `GatewayError`: `ModelNotAuthorized`, `RateLimited`, `InsufficientBalance`,
        `DatabaseUnavailable` or an `UpstreamError`. The checks before this one are 401, 503 (concurrency limit), 408,
        413 and 400. The caller closes the result.
        """
        caller.check_model(request.model)
        with (
            self._rate_limiter.acquire(caller, request.n, receipt),
            self._billing.reserve(caller, request.model, request.n, request_id, receipt) as reservation,
        ):
            result = self._minimax.generate_images(build_payload(request))
            reservation.settle(len(result.images), result.trace_id)
            return result
