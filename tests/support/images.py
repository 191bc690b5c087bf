"""Small images of each type for uploads."""

from __future__ import annotations

import base64
from io import BytesIO

from PIL import Image


def make_image(kind: str = "JPEG", size: tuple[int, int] = (64, 64)) -> bytes:
    file = BytesIO()
    Image.new("RGB", size, (200, 120, 40)).save(file, kind)
    return file.getvalue()


JPEG = make_image("JPEG")
PNG = make_image("PNG")
WEBP = make_image("WEBP")
GIF = make_image("GIF")


def data_url(image: bytes = JPEG, mime_type: str = "image/jpeg") -> str:
    return f"data:{mime_type};base64,{base64.b64encode(image).decode()}"
