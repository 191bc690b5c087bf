"""Owns the way from OpenAI's `size` (WxH, pixels) to MiniMax's `aspect_ratio` (w:h)."""

from __future__ import annotations

import re
from math import gcd

ASPECT_RATIOS = ("1:1", "16:9", "4:3", "3:2", "2:3", "3:4", "9:16", "21:9")
LIVE_UNSUPPORTED_RATIO = "21:9"

# The sizes people know, which mostly do not reduce to the ratio that MiniMax draws for them.
SIZES = {
    "1024x1024": "1:1",
    "1792x1024": "16:9",
    "1024x1792": "9:16",
    "1536x1024": "3:2",
    "1248x832": "3:2",
    "1024x1536": "2:3",
    "832x1248": "2:3",
    "1152x864": "4:3",
    "864x1152": "3:4",
    "1344x576": "21:9",
}

_SIZE = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", re.ASCII)


def is_size(text: str) -> bool:
    """Whether `text` is WIDTHxHEIGHT: two positive whole numbers of at most five digits."""
    return _SIZE.fullmatch(text) is not None


def ratio_of_size(size: str) -> str | None:
    """The aspect ratio for a valid size, or None where none of the eight fits (MiniMax then draws 1:1)."""
    if size in SIZES:
        return SIZES[size]
    width, height = (int(part) for part in size.split("x"))
    divisor = gcd(width, height)
    ratio = f"{width // divisor}:{height // divisor}"
    # 21:9 is not in lowest terms itself.
    ratio = "21:9" if ratio == "7:3" else ratio
    return ratio if ratio in ASPECT_RATIOS else None
