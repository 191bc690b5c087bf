"""`build_payload`: the JSON body that MiniMax gets for an `ImageRequest`."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from app.model_catalog import IMAGE_01, IMAGE_01_LIVE
from app.sandbox.rules import RequestSchema
from app.services.image_request import ImageRequest, Style
from app.services.payload import build_payload

LEAST = ImageRequest(model=IMAGE_01, prompt="an otter", n=1, response_format="url")
FULL = ImageRequest(
    model=IMAGE_01_LIVE,
    prompt="  海港 🦦\n",
    n=9,
    response_format="b64_json",
    aspect_ratio="16:9",
    seed=-(2**63),
    prompt_optimizer=True,
    watermark=True,
    style=Style("水彩", 0.5),
    subject_reference="https://example.com/face.jpg?a=1&b=%2B",
    width=512,
    height=2048,
    ignored=("quality", "user"),
)
MINIMAX_FIELDS = {
    *("model", "prompt", "n", "aspect_ratio", "response_format", "seed", "prompt_optimizer", "aigc_watermark"),
    *("style", "subject_reference", "width", "height"),
}


def test_absent_fields_stay_absent() -> None:
    assert build_payload(LEAST) == {"model": "image-01", "prompt": "an otter", "n": 1, "response_format": "url"}


def test_every_field_is_sent() -> None:
    payload = build_payload(FULL)
    assert payload == {
        "model": "image-01-live",
        "prompt": "  海港 🦦\n",
        "n": 9,
        "response_format": "base64",
        "aspect_ratio": "16:9",
        "seed": -(2**63),
        "prompt_optimizer": True,
        "aigc_watermark": True,
        "style": {"style_type": "水彩", "style_weight": 0.5},
        "subject_reference": [{"type": "character", "image_file": "https://example.com/face.jpg?a=1&b=%2B"}],
        "width": 512,
        "height": 2048,
    }
    assert set(payload) == MINIMAX_FIELDS


@pytest.mark.parametrize(
    ("chosen", "sent"),
    [
        ({"seed": 0}, {"seed": 0}),
        ({"prompt_optimizer": False}, {"prompt_optimizer": False}),
        ({"watermark": False}, {"aigc_watermark": False}),
        ({"style": Style("漫画")}, {"style": {"style_type": "漫画"}}),
    ],
)
def test_false_and_zero_are_sent(chosen: dict[str, Any], sent: dict[str, Any]) -> None:
    assert build_payload(replace(LEAST, **chosen)) == build_payload(LEAST) | sent


def test_every_key_of_the_payload_is_known_to_the_sandbox() -> None:
    """The fields of the sandbox's schema are exactly those of the payload. An unknown one would be rejected."""
    unset = [field.name for field in fields(FULL) if getattr(FULL, field.name) is None]
    assert not unset, f"give a value in FULL, at the top of this file, to: {', '.join(unset)}"
    sent, known = set(build_payload(FULL)), set(RequestSchema().fields)
    assert not sent - known, f"add to RequestSchema in app/sandbox/rules.py: {', '.join(sorted(sent - known))}"
    assert not known - sent, f"build_payload in app/services/payload.py never sends: {', '.join(sorted(known - sent))}"
