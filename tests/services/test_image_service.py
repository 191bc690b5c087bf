"""The order of the steps of one call, with an image store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import pytest

from app.accounts.api_key import Caller
from app.accounts.billing import Billing
from app.accounts.rate_limiter import NoRateLimits
from app.accounts.receipt import Receipt
from app.cancellation import Cancellation
from app.model_catalog import IMAGE_01, ResponseFormat
from app.services.image_request import ImageRequest, ImageResult
from app.services.image_service import ImageService, KeyPool
from app.services.response import to_openai
from app.spooling.spooled_text import SpooledText

URL = "https://images.example.com/images/1.jpg"
BASE64 = "/9j/4AAQ"


class Steps:
    """Every part of the service that does something, and what they have done."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def check(self) -> None:
        self.done.append("check")

    def keep(self, images: Sequence[str | SpooledText], owner: str) -> tuple[str | None, ...]:
        self.done.append(f"keep {len(images)} of {owner}")
        return tuple(URL if number == 0 else None for number in range(len(images)))

    @property
    def cancellation(self) -> Cancellation:
        return Cancellation()

    def turn_came(self) -> None:
        self.done.append("turn")

    def generated(self, result: ImageResult) -> None:
        self.done.append(f"generated {len(result.images)}")

    @contextmanager
    def turn(self, *_: object) -> Iterator[Steps]:
        yield self

    def call(self, send: Callable[[str], ImageResult]) -> ImageResult:
        return send("key")

    @contextmanager
    def reserve(self, *_: object) -> Iterator[Steps]:
        self.done.append("reserve")
        yield self

    def settle(self, images: int, trace_id: str | None) -> None:
        self.done.append(f"settle {images}")

    def generate_images(self, payload: Mapping[str, Any], api_key: str) -> ImageResult:
        self.done.append(f"draw {payload['response_format']}")
        return ImageResult((BASE64, BASE64), None, None, 1)


CASES: list[tuple[ResponseFormat, list[str], tuple[str, ...], bool]] = [
    (
        "url",
        ["check", "turn", "reserve", "draw base64", "keep 2 of owner", "generated 2", "settle 2"],
        (URL, f"data:image/jpeg;base64,{BASE64}"),
        True,
    ),
    ("b64_json", ["turn", "reserve", "draw base64", "generated 2", "settle 2"], (BASE64, BASE64), False),
]


def test_streamed_images_are_kept_too_and_stay_base64() -> None:
    parts = Steps()
    service = ImageService(parts, cast(KeyPool, parts), NoRateLimits(), cast(Billing, parts), parts)
    request = ImageRequest(IMAGE_01, "p", 2, "b64_json", stream=True)
    result = service.generate(Caller("owner"), request, "id", Receipt(), parts)
    assert (result.images, result.urls, result.image_store_failed) == ((BASE64, BASE64), (URL, None), True)
    assert to_openai(result, request, created=1)["data"] == [{"b64_json": BASE64, "url": URL}, {"b64_json": BASE64}]


@pytest.mark.parametrize(("response_format", "steps", "images", "failed"), CASES, ids=[case[0] for case in CASES])
def test_images_are_kept_before_they_are_charged(
    response_format: ResponseFormat, steps: list[str], images: tuple[str, ...], failed: bool
) -> None:
    """A gateway killed at any point has charged for no image that cannot be fetched."""
    parts = Steps()
    service = ImageService(parts, cast(KeyPool, parts), NoRateLimits(), cast(Billing, parts), parts)
    request = ImageRequest(IMAGE_01, "p", 2, response_format)
    with service.admit(Caller("owner"), request, Receipt()):
        result = service.generate(Caller("owner"), request, "id", Receipt(), parts)
    assert (parts.done, result.images, result.image_store_failed) == (steps, images, failed)
