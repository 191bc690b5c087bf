"""Creates the image store of a location."""

from __future__ import annotations

from app.image_store.file_store import FileImageStore
from app.image_store.store import ImageStore
from app.native_thread import NativeThreads
from app.objects.file_objects import FileObjects
from app.objects.location import FileLocation, Location

DISK_THREADS = 4  # an fsync may take seconds
S3_FOLDER = "images/"  # below the prefix


def create_image_store(location: Location, spool_folder: str | None) -> ImageStore:
    """Nothing is read or written yet. `spool_folder` is for images on their way to S3."""
    if isinstance(location, FileLocation):
        return FileImageStore(FileObjects(location.folder, NativeThreads(DISK_THREADS)))

    # Imported here, because botocore takes 35 MB.
    from app.image_store.s3_store import S3ImageStore
    from app.objects.s3_objects import S3Objects, create_client

    objects = S3Objects(create_client(), location.bucket, location.prefix + S3_FOLDER, spool_folder)
    return S3ImageStore(objects)
