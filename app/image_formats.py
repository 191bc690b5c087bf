"""Image formats that MiniMax delivers, by their first bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass

HEAD_BYTES = 12  # of an image; they tell its format


@dataclass(frozen=True)
class ImageFormat:
    extension: str
    content_type: str
    magic: re.Pattern[bytes]


JPEG = ImageFormat("jpg", "image/jpeg", re.compile(rb"\xff\xd8\xff"))
PNG = ImageFormat("png", "image/png", re.compile(rb"\x89PNG\r\n\x1a\n"))
WEBP = ImageFormat("webp", "image/webp", re.compile(rb"RIFF.{4}WEBP", re.DOTALL))
FORMATS = {each.extension: each for each in (JPEG, PNG, WEBP)}


def format_of(head: bytes) -> ImageFormat:
    """The format of an image that begins with `head`; JPEG if it is none of them, since MiniMax draws JPEGs."""
    return next((each for each in FORMATS.values() if each.magic.match(head)), JPEG)
