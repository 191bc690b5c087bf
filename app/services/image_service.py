"""Generates images: checks, limits, a turn with an upstream key, billing, upstream call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any, Protocol

from app.accounts.api_key import Caller
from app.accounts.billing import Billing
from app.accounts.rate_limiter import RateLimiter
from app.accounts.receipt import Receipt
from app.cancellation import Cancellation
from app.services.image_request import ImageRequest, ImageResult
from app.services.kept_images import ImageKeeper, add_urls, keep_images
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

    def turn(self, caller: str, receipt: Receipt, cancellation: Cancellation) -> AbstractContextManager[Turn]:
        """Wait until a key may begin a call. Raises `UpstreamBusy`, `UpstreamError` or `ShuttingDown`.

        Raises `TaskWithdrawn` if the call is cancelled meanwhile.
        """
        ...


class Progress(Protocol):
    """Who follows a call while it is made."""

    @property
    def cancellation(self) -> Cancellation:
        """Ends the wait of the call for its turn."""
        ...

    def turn_came(self) -> None:
        """The call is about to be sent. Raises `GatewayError` to prevent it."""
        ...

    def generated(self, result: ImageResult) -> None:
        """The images have come, and are not charged yet. Raises `UpstreamError` if they can reach nobody."""
        ...


class ImageService:
    """One call of a caller, from the checks to the images. Safe for threads if its parts are."""

    def __init__(
        self,
        minimax: Minimax,
        key_pool: KeyPool,
        rate_limiter: RateLimiter,
        billing: Billing,
        image_keeper: ImageKeeper | None = None,
    ) -> None:
        """With an `image_keeper`, images that are requested as URLs or streamed are kept, and the URLs are its own."""
        self._minimax = minimax
        self._key_pool = key_pool
        self._rate_limiter = rate_limiter
        self._billing = billing
        self._image_keeper = image_keeper

    @contextmanager
    def admit(self, caller: Caller, request: ImageRequest, receipt: Receipt) -> Iterator[None]:
        """Check the model (403) and the image store (503), and count the request against the limits (429).

        It is in flight until the context ends.
        """
        caller.check_model(request.model)
        if keeper := self._keeper(request):
            keeper.check()
        with self._rate_limiter.acquire(caller, request.n, receipt):
            yield

    def check_balance(self, caller: Caller, request: ImageRequest) -> None:
        """Raise `InsufficientBalance` if the balance does not pay for the request now. Reserves nothing."""
        self._billing.check(caller, request.model, request.n)

    def count_replay(self, caller: Caller, receipt: Receipt) -> None:
        """Count a request that makes no call against the requests a minute. Raises `RateLimited`."""
        self._rate_limiter.count(caller, receipt)

    def generate(
        self, caller: Caller, request: ImageRequest, request_id: str, receipt: Receipt, progress: Progress
    ) -> ImageResult:
        """Generate the images of an admitted request: a turn (429), the balance (429), the upstream call.

        `request_id` goes into the ledger; `receipt` is filled with what response headers tell of the queue and charges.
        Raises `GatewayError`: what `KeyPool.turn` raises, `InsufficientBalance`, `DatabaseUnavailable`, an
        `UpstreamError`, or what `progress` raises. The caller closes the result.
        """
        with self._key_pool.turn(caller.fingerprint, receipt, progress.cancellation) as turn:
            progress.turn_came()
            with self._billing.reserve(caller, request.model, request.n, request_id, receipt) as reservation:
                result = self._call(turn, caller, request)
                try:
                    # Before the charge: a caller never pays for an image that was lost with the process.
                    progress.generated(result)
                except BaseException:
                    result.close()
                    raise
                reservation.settle(len(result.images), result.trace_id)
                return result

    def _call(self, turn: Turn, caller: Caller, request: ImageRequest) -> ImageResult:
        keeper = self._keeper(request)
        payload = build_payload(replace(request, response_format="b64_json") if keeper else request)
        result = turn.call(lambda api_key: self._minimax.generate_images(payload, api_key))
        if keeper is None:
            return result
        keep = add_urls if request.stream else keep_images
        return keep(result, caller.fingerprint, keeper)

    def _keeper(self, request: ImageRequest) -> ImageKeeper | None:
        return self._image_keeper if request.response_format == "url" or request.stream else None
