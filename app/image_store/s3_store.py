"""`S3ImageStore`: images as objects named `ID.EXTENSION`, with their owner in the metadata."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

from app.image_formats import FORMATS, ImageFormat
from app.image_store.store import KeptImage
from app.objects.s3_objects import S3Objects
from app.objects.store import Chunks, ObjectInfo, ObjectMissing, ObjectsUnavailable

CHECK_NAME = "write-check"
# How long a successful write counts as a check. Each check is a request that is paid for.
CHECK_SECONDS = 30.0
FAILED_CHECK_SECONDS = 2.0  # for calls that have waited for a check which failed


class S3ImageStore:
    """A process that writes images needs no further requests to check that it can."""

    def __init__(self, objects: S3Objects, *, check_seconds: float = CHECK_SECONDS) -> None:
        self._objects = objects
        self._check_seconds = check_seconds
        self._checking = threading.Lock()
        self._valid_until = 0.0
        self._failure: ObjectsUnavailable | None = None

    def check(self) -> None:
        if self._is_valid():
            return
        with self._checking:  # one request for all calls that come meanwhile
            if not self._is_valid():
                self._write(CHECK_NAME, [], 0)

    def write(self, image_id: str, image_format: ImageFormat, owner: str, chunks: Iterable[bytes], size: int) -> None:
        self._write(
            f"{image_id}.{image_format.extension}",
            chunks,
            size,
            content_type=image_format.content_type,
            metadata={"owner": owner},
        )

    def find(self, image_id: str) -> KeptImage:
        """One request, since nearly all images are JPEG."""
        for image_format in FORMATS.values():
            try:
                info = self._objects.info(f"{image_id}.{image_format.extension}")
            except ObjectMissing:
                continue
            return KeptImage(image_id, image_format, info.size, info.modified, info.metadata.get("owner"))
        raise ObjectMissing(image_id)

    def read(self, image: KeptImage) -> Chunks:
        return self._objects.read(image.name)

    def path(self, image: KeptImage) -> None:
        return None

    def signed_url(self, image: KeptImage, seconds: int, method: str, cache_control: str) -> str:
        return self._objects.signed_url(image.name, seconds, method, ResponseCacheControl=cache_control)

    def delete(self, image: KeptImage) -> None:
        self._objects.delete(image.name)

    def all(self) -> Iterator[KeptImage]:
        """See `ImageStore`. The owners are not in the listing."""
        return filter(None, map(_parse, self._objects.entries()))

    def remove_leftovers(self) -> None:
        """S3 has none."""

    def _is_valid(self) -> bool:
        """Whether the last write tells that the next one would succeed. Raises `ObjectsUnavailable` if it would not."""
        if time.monotonic() >= self._valid_until:
            return False
        if self._failure:
            raise ObjectsUnavailable from self._failure.__cause__
        return True

    def _write(self, name: str, chunks: Iterable[bytes], size: int, **arguments: Any) -> None:
        try:
            self._objects.write(name, chunks, size, **arguments)
        except ObjectsUnavailable as error:
            self._failure, self._valid_until = error, time.monotonic() + FAILED_CHECK_SECONDS
            raise
        self._failure, self._valid_until = None, time.monotonic() + self._check_seconds


def _parse(info: ObjectInfo) -> KeptImage | None:
    image_id, extension = os.path.splitext(info.name)
    image_format = FORMATS.get(extension[1:])
    return KeptImage(image_id, image_format, info.size, info.modified, None) if image_format else None
