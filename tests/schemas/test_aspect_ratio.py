"""Sizes and ratios, beyond the table that tests/contract/test_fields.py walks."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.model_catalog import ASPECT_RATIOS, PIXELS
from app.schemas.aspect_ratio import SIZES, is_size, ratio_of_size

SIDES = st.integers(1, 99_999)


def test_the_pixels_of_a_ratio_are_a_size_of_that_ratio() -> None:
    assert {ratio: ratio_of_size(f"{width}x{height}") for ratio, (width, height) in PIXELS.items()} == {
        ratio: ratio for ratio in ASPECT_RATIOS
    }


@given(width=SIDES, height=SIDES)
def test_any_other_size_has_its_reduced_ratio_or_none(width: int, height: int) -> None:
    size = f"{width}x{height}"
    by_value = {Fraction(*map(int, ratio.split(":"))): ratio for ratio in ASPECT_RATIOS}
    assert is_size(size)
    assert ratio_of_size(size) == SIZES.get(size, by_value.get(Fraction(width, height)))


@given(ratio=st.sampled_from(ASPECT_RATIOS), times=st.integers(1, 4000))
def test_every_multiple_of_a_ratio_is_that_ratio(ratio: str, times: int) -> None:
    width, height = (int(part) * times for part in ratio.split(":"))
    size = f"{width}x{height}"
    assert ratio_of_size(size) == SIZES.get(size, ratio)


@given(st.text() | st.from_regex(r"\s*[-+0]?\d{0,7}\s?[xX×*:]\s?\d{0,7}\s*", fullmatch=True))
def test_any_other_text_is_not_a_size(text: str) -> None:
    """A size equals its two numbers, parsed and formatted again."""
    try:
        width, height = (int(part) for part in text.split("x"))
        well_written = text == f"{width}x{height}" and 0 < width <= 99_999 and 0 < height <= 99_999
    except ValueError:
        well_written = False
    assert is_size(text) is well_written


@pytest.mark.parametrize("size", ["100000x1", "1x100000", "9" * 100_000 + "x1"])
def test_a_very_long_number_is_not_a_size(size: str) -> None:
    assert not is_size(size)
