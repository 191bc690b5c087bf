"""`FileImageStore`: images as files, named `ID.OWNER.EXTENSION`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from app.image_formats import FORMATS, ImageFormat
from app.image_store.store import KeptImage
from app.objects.file_objects import FileObjects
from app.objects.store import Chunks, ObjectInfo, ObjectMissing, ObjectsUnavailable

MIN_FREE_BYTES = 64 * 1024 * 1024  # nine large images of several calls
LEFTOVER_SECONDS = 3600  # no write takes longer


class FileImageStore:
    def __init__(self, objects: FileObjects) -> None:
        self._objects = objects

    def check(self) -> None:
        self._objects.check()
        try:
            free = shutil.disk_usage(self._objects.folder).free
        except OSError as error:
            raise ObjectsUnavailable from error
        if free < MIN_FREE_BYTES:
            raise ObjectsUnavailable("the disk is full")

    def write(self, image_id: str, image_format: ImageFormat, owner: str, chunks: Iterable[bytes], size: int) -> None:
        self._objects.write(f"{image_id}.{owner}.{image_format.extension}", chunks, size)

    def find(self, image_id: str) -> KeptImage:
        image = next(filter(None, map(_parse, self._objects.matching(image_id))), None)
        if image is None:
            raise ObjectMissing(image_id)
        return image

    def read(self, image: KeptImage) -> Chunks:
        return self._objects.read(_name(image))

    def path(self, image: KeptImage) -> Path:
        return self._objects.path(_name(image)).relative_to(self._objects.folder)

    def signed_url(self, image: KeptImage, seconds: int, method: str, cache_control: str) -> None:
        return None

    def delete(self, image: KeptImage) -> None:
        self._objects.delete(_name(image))

    def all(self) -> Iterator[KeptImage]:
        return filter(None, map(_parse, self._objects.entries()))

    def remove_leftovers(self) -> None:
        for name in self._objects.leftovers_older_than(LEFTOVER_SECONDS):
            self._objects.delete(name)


def _name(image: KeptImage) -> str:
    return f"{image.id}.{image.owner}.{image.format.extension}"


def _parse(info: ObjectInfo) -> KeptImage | None:
    """None for a file that somebody else has put into the folder."""
    image_id, _, rest = info.name.partition(".")
    owner, extension = os.path.splitext(rest)
    image_format = FORMATS.get(extension[1:])
    return KeptImage(image_id, image_format, info.size, info.modified, owner) if image_format and owner else None
