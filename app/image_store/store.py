"""`ImageStore`: the interface of stores for images, and what they tell of an image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from app.image_formats import ImageFormat


@dataclass(frozen=True)
class KeptImage:
    """`id` has 32 hex digits, `size` is in bytes, `created` in unix seconds.

    `owner` is the fingerprint of the API key that has paid, None where the listing of a store does not tell.
    """

    id: str
    format: ImageFormat
    size: int
    created: float
    owner: str | None

    @property
    def name(self) -> str:
        """The image's name in its URL."""
        return f"{self.id}.{self.format.extension}"


class ImageStore(Protocol):
    """Images by their id. Every method raises `ObjectsUnavailable`. Safe for threads and greenlets."""

    def check(self) -> None:
        """Raise `ObjectsUnavailable` if an image could not be written now."""
        ...

    def write(self, image_id: str, image_format: ImageFormat, owner: str, chunks: Iterable[bytes], size: int) -> None:
        """Store an image of `size` bytes, whole or not at all."""
        ...

    def find(self, image_id: str) -> KeptImage:
        """Raises `ObjectMissing`."""
        ...

    def read(self, image: KeptImage) -> Iterator[bytes]:
        """The image in chunks, see `ObjectStore.read`. Raises `ObjectMissing`."""
        ...

    def path(self, image: KeptImage) -> Path | None:
        """The image's file, relative to the store's folder; None in a store without files."""
        ...

    def signed_url(self, image: KeptImage, seconds: int, method: str, cache_control: str) -> str | None:
        """A URL by which anybody can `method` the image for `seconds`; None in a store that has none.

        `cache_control` is the header that its responses have.
        """
        ...

    def delete(self, image: KeptImage) -> None: ...

    def all(self) -> Iterator[KeptImage]:
        """All images, in no order."""
        ...

    def remove_leftovers(self) -> None:
        """Remove what killed writers have left."""
        ...
