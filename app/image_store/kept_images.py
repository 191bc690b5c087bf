"""`KeptImages`: writes images under random ids, finds them again until they expire, and deletes them."""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from app.errors import ImageNotFound, ImageStoreUnavailable
from app.image_formats import HEAD_BYTES, format_of
from app.image_store.store import ImageStore, KeptImage
from app.objects.store import ObjectMissing, ObjectsUnavailable
from app.spooling.base64_reader import decoded_chunks, decoded_head, decoded_size
from app.spooling.spooled_text import SpooledText

log = logging.getLogger(__name__)

ID_BYTES = 16
_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
_DAY_SECONDS = 86_400


@dataclass(frozen=True)
class PurgeReport:
    """How many images were removed and kept, with their bytes. `oldest_seconds` is the age of the oldest kept one."""

    removed: int
    removed_bytes: int
    kept: int
    kept_bytes: int
    oldest_seconds: float


class KeptImages:
    """The images of one `store`. Safe for threads and greenlets."""

    def __init__(self, store: ImageStore, public_url: str, days: int) -> None:
        """`public_url` is that of the gateway, without a slash at its end; images are kept for `days`."""
        self.store = store
        self._public_url = public_url
        self._seconds = days * _DAY_SECONDS

    def check(self) -> None:
        """Raise `ImageStoreUnavailable` if an image could not be written now."""
        try:
            self.store.check()
        except ObjectsUnavailable as error:
            log.warning("The image store cannot be written to: %s", _reason(error))
            raise ImageStoreUnavailable from error

    def keep(self, images: Sequence[str | SpooledText], owner: str) -> tuple[str | None, ...]:
        """Write `images`, which are padded base64, for the API key with the fingerprint `owner`. Returns their URLs.

        Never raises: the images have been paid for. From the first that cannot be written on, URLs are None.
        """
        urls: list[str | None] = []
        try:
            for image in images:
                urls.append(self._write(image, owner))  # noqa: PERF401 (those before a failure stay)
        except ObjectsUnavailable as error:
            log.warning("An image could not be kept: %s", _reason(error))
        except Exception:
            log.exception("An image could not be kept")
        return (*urls, *[None] * (len(images) - len(urls)))

    def find(self, image_id: str) -> KeptImage:
        """Raises `ImageNotFound`, also for an image that has expired, and `ImageStoreUnavailable`."""
        if not _ID.fullmatch(image_id):
            raise ImageNotFound
        try:
            image = self.store.find(image_id)
        except ObjectMissing:
            raise ImageNotFound from None
        except ObjectsUnavailable as error:
            raise ImageStoreUnavailable from error
        if self.seconds_left(image) <= 0:
            raise ImageNotFound
        return image

    def seconds_left(self, image: KeptImage) -> int:
        """Until the image expires; not positive if it has."""
        return int(image.created + self._seconds - time.time())

    def delete(self, image_id: str, owner: str) -> None:
        """Delete an image of `owner`. Raises `ImageNotFound`, also for another's image, and `ImageStoreUnavailable`."""
        image = self.find(image_id)
        if image.owner != owner:
            raise ImageNotFound
        try:
            self.store.delete(image)
        except ObjectsUnavailable as error:
            raise ImageStoreUnavailable from error

    def purge(self) -> PurgeReport:
        """Remove expired images. Several processes may do so at once. Raises `ObjectsUnavailable`."""
        removed = removed_bytes = kept = kept_bytes = 0
        oldest = 0.0
        for image in self.store.all():
            if self.seconds_left(image) <= 0:
                self.store.delete(image)
                removed, removed_bytes = removed + 1, removed_bytes + image.size
            else:
                kept, kept_bytes = kept + 1, kept_bytes + image.size
                oldest = max(oldest, time.time() - image.created)
        self.store.remove_leftovers()
        return PurgeReport(removed, removed_bytes, kept, kept_bytes, oldest)

    def all(self) -> Iterator[KeptImage]:
        """Every image, expired ones too. Raises `ObjectsUnavailable`."""
        return self.store.all()

    def _write(self, image: str | SpooledText, owner: str) -> str:
        image_id = secrets.token_hex(ID_BYTES)
        image_format = format_of(decoded_head(image, HEAD_BYTES))
        self.store.write(image_id, image_format, owner, decoded_chunks(image), decoded_size(image))
        return f"{self._public_url}/images/{image_id}.{image_format.extension}"


def _reason(error: ObjectsUnavailable) -> str:
    """The name of the cause: its message may hold a URL."""
    return type(error.__cause__).__name__ if error.__cause__ else str(error)
