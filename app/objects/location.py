"""Where objects lie: a folder, or a prefix of a bucket; read from a URL."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_PREFIX = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9_.-]*/)*", re.ASCII)


@dataclass(frozen=True)
class FileLocation:
    """`folder` is absolute."""

    folder: Path


@dataclass(frozen=True)
class S3Location:
    """`prefix` is empty or ends in a slash."""

    bucket: str
    prefix: str


Location = FileLocation | S3Location


def parse_location(url: str) -> Location | None:
    """`file:///folder` or `s3://bucket/prefix`. None for any other text."""
    scheme, _, place = url.partition("://")
    match scheme:
        case "file" if place.startswith("/") and place.isprintable() and not set(place) & set("%?#"):
            return FileLocation(Path(os.path.normpath(f"/{place.lstrip('/')}")))
        case "s3":
            bucket, _, prefix = place.partition("/")
            prefix = f"{prefix.rstrip('/')}/" if prefix else ""
            if _BUCKET.fullmatch(bucket) and _PREFIX.fullmatch(prefix):
                return S3Location(bucket, prefix)
    return None
