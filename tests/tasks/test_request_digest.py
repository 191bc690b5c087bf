"""Which requests are the same: the digests of requests and of idempotency keys."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.model_catalog import IMAGE_01, IMAGE_01_LIVE
from app.services.image_request import ImageRequest, Style
from app.spooling.spool import Spool
from app.spooling.spooled_text import SpooledText
from app.tasks.request_digest import key_digest, request_digest

REFERENCE = "data:image/png;base64,AAAA"
REQUEST = ImageRequest(IMAGE_01, "a prompt", 1, "b64_json", style=Style("漫画", 0.5), subject_reference=REFERENCE)
DIGEST = request_digest("edits", REQUEST)


@pytest.mark.parametrize("change", [{}, {"ignored": ("user",)}], ids=str)
def test_same_request(change: dict[str, Any]) -> None:
    assert request_digest("edits", replace(REQUEST, **change)) == DIGEST


DIFFERENT: dict[str, dict[str, Any]] = {
    "model": {"model": IMAGE_01_LIVE},
    "prompt": {"prompt": "a prompt "},
    "n": {"n": 2},
    "response_format": {"response_format": "url"},
    "stream": {"stream": True},
    "aspect_ratio": {"aspect_ratio": "16:9"},
    "seed": {"seed": 0},
    "prompt_optimizer": {"prompt_optimizer": False},
    "watermark": {"watermark": False},
    "no style": {"style": None},
    "style weight": {"style": Style("漫画", 0.6)},
    "style without weight": {"style": Style("漫画")},
    "reference": {"subject_reference": REFERENCE + "AAAA"},
    "no reference": {"subject_reference": None},
    "width and height": {"width": 512, "height": 768},
    "height and width": {"width": 768, "height": 512},
}


def test_different_requests() -> None:
    """Each differs from the others too."""
    digests = [request_digest("edits", replace(REQUEST, **change)) for change in DIFFERENT.values()]
    digests.append(request_digest("generations", REQUEST))
    assert len({DIGEST, *digests}) == len(digests) + 1


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"], ids=["whole", "prefix"])
def test_spooled_reference_is_the_same_as_one_in_memory(prefix: str) -> None:
    rest = REFERENCE.removeprefix(prefix).encode()
    spool = Spool()
    try:
        start = spool.write(b"before")
        spooled = SpooledText(spool, start, spool.write(rest), prefix)
        assert request_digest("edits", replace(REQUEST, subject_reference=spooled)) == DIGEST
    finally:
        spool.close()


def test_idempotency_keys_of_each_caller_are_their_own() -> None:
    digests = [key_digest(caller, key) for caller in ("a", "b") for key in ("k", "l")]
    assert len(set(digests)) == 4
    assert key_digest("a", "k") == digests[0]
    assert "secret" not in key_digest("a", "secret")
