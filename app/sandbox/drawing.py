"""Draws JPEGs from the prompt and the seed: the same two give the same image."""

from __future__ import annotations

import colorsys
import hashlib
import textwrap
from io import BytesIO

from PIL import Image, ImageDraw, ImageFont

_MARGIN = 40  # pixels


def draw_jpeg(
    *, prompt: str, seed: int, index: int, size: tuple[int, int], label: str, reference: Image.Image | None
) -> bytes:
    """Return one JPEG of `size` (width, height in pixels).

    Its colours depend on prompt, seed and index. It shows the prompt, `label`, and the reference in a corner.
    """
    digest = hashlib.sha256(f"{prompt}\0{seed}\0{index}".encode()).digest()
    image = _gradient(_colour(digest[0], 0.95), _colour(digest[1], 0.45), size)
    canvas = ImageDraw.Draw(image)
    _draw_shapes(canvas, digest, size)
    _draw_words(canvas, prompt, label, size)
    if reference is not None:
        thumbnail = reference.convert("RGB")
        thumbnail.thumbnail((size[0] // 4, size[1] // 4))
        image.paste(thumbnail, (size[0] - thumbnail.width - _MARGIN, _MARGIN))
    file = BytesIO()
    image.save(file, "JPEG", quality=85)
    return file.getvalue()


def _colour(hue: int, brightness: float) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(hue / 256, 0.55, brightness)
    return round(red * 255), round(green * 255), round(blue * 255)


def _gradient(top: tuple[int, int, int], bottom: tuple[int, int, int], size: tuple[int, int]) -> Image.Image:
    mask = Image.linear_gradient("L").resize(size)
    return Image.composite(Image.new("RGB", size, bottom), Image.new("RGB", size, top), mask)


def _draw_shapes(canvas: ImageDraw.ImageDraw, digest: bytes, size: tuple[int, int]) -> None:
    for at in range(2, 26, 4):
        x, y = digest[at] * size[0] // 256, digest[at + 1] * size[1] // 256
        radius = 20 + digest[at + 2] // 2
        canvas.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_colour(digest[at + 3], 0.8))


def _draw_words(canvas: ImageDraw.ImageDraw, prompt: str, label: str, size: tuple[int, int]) -> None:
    font = ImageFont.load_default(size=size[0] // 24)
    words = textwrap.shorten(prompt.replace("\0", " "), 200, placeholder=" …")
    text = "\n".join([*textwrap.wrap(words, 36), "", label])
    canvas.multiline_text(
        (_MARGIN, size[1] // 2), text, font=font, fill="white", anchor="lm", stroke_width=2, stroke_fill="black"
    )
