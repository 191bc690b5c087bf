"""Maps OpenAI `size` (WxH, pixels) to MiniMax `aspect_ratio` (w:h)."""

from __future__ import annotations

import re
from math import gcd

from app.model_catalog import ASPECT_RATIOS

# Sizes of OpenAI's models and MiniMax's own. Most do not reduce to the ratio they stand for. Source: contract 1.2.
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

SIZE_PATTERN = "[1-9][0-9]{0,4}x[1-9][0-9]{0,4}"
_SIZE = re.compile(SIZE_PATTERN, re.ASCII)


def is_size(text: str) -> bool:
    """Return whether `text` is WIDTHxHEIGHT: two positive integers of at most five digits."""
    return _SIZE.fullmatch(text) is not None


def ratio_of_size(size: str) -> str | None:
    """Return the aspect ratio of a valid size, or None if none of the eight matches (MiniMax then draws 1:1)."""
    if size in SIZES:
        return SIZES[size]
    width, height = (int(part) for part in size.split("x"))
    divisor = gcd(width, height)
    ratio = f"{width // divisor}:{height // divisor}"
    # 21:9 itself is not in lowest terms.
    ratio = "21:9" if ratio == "7:3" else ratio
    return ratio if ratio in ASPECT_RATIOS else None
