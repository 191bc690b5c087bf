"""Generates images: checks, limits, a turn with an upstream key, billing, upstream call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from app.accounts.api_key import Caller
from app.accounts.billing import Billing
from app.accounts.rate_limiter import RateLimiter
from app.accounts.receipt import Receipt
from app.services.image_request import ImageRequest, ImageResult
from app.services.payload import build_payload


class Minimax(Protocol):
    """The client that the service needs."""

    def generate_images(self, payload: Mapping[str, Any], api_key: str) -> ImageResult:
        """Send MiniMax's own fields. Raises `UpstreamError` for everything but a response with images."""
        ...


class Turn(Protocol):
    def call(self, send: Callable[[str], ImageResult]) -> ImageResult:
        """`send` with an upstream key, and with another one where the upstream rejects the key itself."""
        ...


class KeyPool(Protocol):
    """The pool of upstream keys."""

    def turn(self, caller: str, receipt: Receipt, is_gone: Callable[[], bool]) -> AbstractContextManager[Turn]:
        """Wait until a key may begin a call. Raises `UpstreamBusy`, `UpstreamError`, `ShuttingDown` or `CallerGone`."""
        ...


class ImageService:
    """One call of a caller, from the checks to the images. Safe for threads if its parts are."""

    def __init__(self, minimax: Minimax, key_pool: KeyPool, rate_limiter: RateLimiter, billing: Billing) -> None:
        self._minimax = minimax
        self._key_pool = key_pool
        self._rate_limiter = rate_limiter
        self._billing = billing

    def generate(
        self,
        caller: Caller,
        request: ImageRequest,
        request_id: str,
        receipt: Receipt,
        is_gone: Callable[[], bool] = lambda: False,
    ) -> ImageResult:
        """Generate images. Checks run cheapest first: model (403), rate limit (429), turn (429), balance (429).

        `request_id` goes into the ledger; `receipt` is filled with what response headers tell of limits, the queue and
        charges; `is_gone` says whether the caller has disconnected. Raises `GatewayError`: `ModelNotAuthorized`,
        `RateLimited`, what `KeyPool.turn` raises, `InsufficientBalance`, `DatabaseUnavailable` or an `UpstreamError`.
        The checks before this one are 401, 503 (concurrency limit), 408, 413 and 400. The caller closes the result.
        """
        caller.check_model(request.model)
        with (
            self._rate_limiter.acquire(caller, request.n, receipt),
            self._key_pool.turn(caller.fingerprint, receipt, is_gone) as turn,
            self._billing.reserve(caller, request.model, request.n, request_id, receipt) as reservation,
        ):
            payload = build_payload(request)
            result = turn.call(lambda api_key: self._minimax.generate_images(payload, api_key))
            reservation.settle(len(result.images), result.trace_id)
            return result
