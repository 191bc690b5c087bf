"""`S3Objects`: objects in a bucket of S3, or of a server that speaks its protocol.

This is the only module that imports botocore, and it is imported only where a store in S3 is configured.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import get_session

from app.objects.store import Chunks, ObjectInfo, ObjectMissing, ObjectsUnavailable, check_name

CHUNK_BYTES = 192 * 1024
IN_MEMORY_BYTES = 64 * 1024
# An operation takes two attempts at most. The read timeout is for one read.
CONFIG = Config(
    connect_timeout=3,
    read_timeout=10,
    retries={"mode": "standard", "total_max_attempts": 2},
    max_pool_connections=64,
    signature_version="s3v4",
    # Other servers than Amazon's do not all know the newer checksums.
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)
_MISSING = ("404", "NoSuchKey", "NotFound")


@dataclass(frozen=True)
class S3Info(ObjectInfo):
    """`metadata` is what `write` was given."""

    metadata: Mapping[str, str]


@cache
def create_client() -> Any:
    """The process's client of S3. Endpoint, region and credentials come from AWS's usual variables and files.

    It opens no connection yet, so it is safe before a fork. Creating it takes a tenth of a second.
    """
    return get_session().create_client("s3", config=CONFIG)


class S3Objects:
    """Objects in `bucket` under keys that begin with `prefix`, which is empty or ends in a slash.

    Objects of over 64 KiB are copied to a file in `spool_folder` before they are sent, because the signature needs
    their digest, and a second attempt the bytes once more.
    """

    def __init__(self, client: Any, bucket: str, prefix: str, spool_folder: str | None = None) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        self._spool_folder = spool_folder

    def write(
        self,
        name: str,
        chunks: Iterable[bytes],
        size: int,
        *,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """See `ObjectStore`. `metadata` holds ASCII text under names in lower case."""
        with _translated(), tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES, dir=self._spool_folder) as body:
            written = sum(map(body.write, chunks))
            if written != size:
                raise ValueError(f"an object of {size} bytes has {written}")
            body.seek(0)
            self._client.put_object(
                **self._address(name), Body=body, ContentLength=size, ContentType=content_type, Metadata=metadata or {}
            )

    def read(self, name: str) -> Chunks:
        with _translated():
            body = self._client.get_object(**self._address(name))["Body"]

        def read_chunk() -> bytes:
            with _translated():
                return bytes(body.read(CHUNK_BYTES))

        return Chunks(read_chunk, body.close)

    def delete(self, name: str) -> None:
        with _translated():
            self._client.delete_object(**self._address(name))

    def names_older_than(self, seconds: float) -> Iterator[str]:
        limit = time.time() - seconds
        return (info.name for info in self.entries() if info.modified < limit)

    def entries(self) -> Iterator[ObjectInfo]:
        """See `ObjectStore`. A thousand objects take one request."""
        pages = iter(
            self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix, Delimiter="/"
            )
        )
        while True:
            with _translated():
                page = next(pages, None)
            if page is None:
                return
            for item in page.get("Contents", ()):
                name = item["Key"].removeprefix(self._prefix)
                yield ObjectInfo(name, item["Size"], _seconds(item["LastModified"]))

    def info(self, name: str) -> S3Info:
        """What the store knows of one object. Raises `ObjectMissing`."""
        with _translated():
            head = self._client.head_object(**self._address(name))
        return S3Info(name, head["ContentLength"], _seconds(head["LastModified"]), head["Metadata"])

    def signed_url(self, name: str, seconds: int, method: str = "GET", **headers: str) -> str:
        """A URL by which anybody can GET, or HEAD, the object for `seconds`. No request is made.

        `headers` are S3's parameters that set headers of its response, such as `ResponseCacheControl`.
        """
        operation = "head_object" if method == "HEAD" else "get_object"
        with _translated():
            url: str = self._client.generate_presigned_url(
                operation, Params=self._address(name) | headers, ExpiresIn=seconds
            )
        return url

    def _address(self, name: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + check_name(name)}


def _seconds(time_stamp: datetime) -> float:
    return time_stamp.timestamp()


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in _MISSING:
            raise ObjectMissing from None
        raise ObjectsUnavailable from error
    except (BotoCoreError, OSError) as error:
        raise ObjectsUnavailable from error
