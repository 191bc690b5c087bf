"""Keeps the images of a result: `keep_images` replaces them by URLs, `add_urls` gives them URLs beside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from app.image_formats import HEAD_BYTES, format_of
from app.services.image_request import ImageResult
from app.spooling.base64_reader import decoded_head
from app.spooling.spooled_text import SpooledText


class ImageKeeper(Protocol):
    """The store of images that the service needs."""

    def check(self) -> None:
        """Raise `ImageStoreUnavailable` if an image could not be written now."""
        ...

    def keep(self, images: Sequence[str | SpooledText], owner: str) -> tuple[str | None, ...]:
        """The URLs of `images`, which are base64; None for one that could not be written. Never raises.

        `owner` is the fingerprint of the API key that may delete them.
        """
        ...


def keep_images(result: ImageResult, owner: str, keeper: ImageKeeper) -> ImageResult:
    """The result with URLs in the place of base64: `data:` URLs where an image could not be written. Never raises."""
    urls = keeper.keep(result.images, owner)
    images = tuple(url or data_url(image) for url, image in zip(urls, result.images, strict=True))
    return replace(result, images=images, image_store_failed=None in urls)


def add_urls(result: ImageResult, owner: str, keeper: ImageKeeper) -> ImageResult:
    """The result with its base64, and a URL for each image that could be written. Never raises."""
    urls = keeper.keep(result.images, owner)
    return replace(result, urls=urls, image_store_failed=None in urls)


def data_url(image: str | SpooledText) -> str | SpooledText:
    """A `data:` URL of base64 without a prefix. A spooled one stays in its spool."""
    prefix = f"data:{format_of(decoded_head(image, HEAD_BYTES)).content_type};base64,"
    return replace(image, prefix=prefix) if isinstance(image, SpooledText) else prefix + image
