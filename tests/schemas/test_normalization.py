"""Every spelling of a request is normalized to one canonical form."""

from __future__ import annotations

from typing import Any

import pytest

from app.errors import InvalidRequest
from app.schemas.normalization import normalize

REFERENCE = {"type": "character", "image_file": "u"}
ROWS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"a": None, "b": 0, "c": "", "d": False, "e": []}, {"b": 0, "c": "", "d": False, "e": []}),
    ({"size": "auto"}, {}),
    ({"size": ""}, {}),
    ({"size": "1x1"}, {"size": "1x1"}),
    ({"response_format": "base64"}, {"response_format": "b64_json"}),
    ({"aigc_watermark": False}, {"watermark": False}),
    ({"style": {"style_type": "x", "style_weight": 1}}, {"style_type": "x", "style_weight": 1}),
    ({"style": {"style_type": "x", "y": 1, "z": None}}, {"style_type": "x", "style.y": 1}),
    ({"style": "vivid"}, {"style": "vivid"}),
    ({"style": "vivid", "extra_body": {"style": {"style_type": "x"}}}, {"style": "vivid", "style_type": "x"}),
    ({"images": [{"image_url": "u", "a": 1, "b": None}]}, {"subject_reference": [REFERENCE], "images.a": 1}),
    ({"images": []}, {}),
    ({"images": [], "subject_reference": [REFERENCE]}, {"subject_reference": [REFERENCE]}),
    ({"images": [{"image_url": "u"}], "subject_reference": []}, {"subject_reference": [REFERENCE]}),
    ({"extra_body": {"a": 1, "b": None}, "c": 2}, {"a": 1, "c": 2}),
    ({"extra_body": {"a": 1}, "a": 2}, {"a": 2}),
    ({"extra_body": {"watermark": True}, "aigc_watermark": False}, {"watermark": False}),
    ({"extra_body": {"extra_body": {"a": 1}}}, {"extra_body.extra_body": {"a": 1}}),
]


@pytest.mark.parametrize(("body", "canonical"), ROWS, ids=str)
def test_a_body_has_one_canonical_spelling(body: dict[str, Any], canonical: dict[str, Any]) -> None:
    assert normalize(body) == canonical
    assert normalize(canonical) == canonical


def test_the_body_is_not_modified() -> None:
    extra = {"style": {"style_type": "x"}, "aigc_watermark": True, "extra_body": {"a": 1}}
    body = {"extra_body": extra, "images": [{"image_url": "u"}], "size": "auto"}
    copy = {"extra_body": dict(extra), "images": [{"image_url": "u"}], "size": "auto"}
    normalize(body)
    assert body == copy


CONTRADICTIONS: list[tuple[dict[str, Any], str]] = [
    ({"watermark": True, "aigc_watermark": False}, "aigc_watermark"),
    ({"watermark": True, "aigc_watermark": 1}, "aigc_watermark"),
    ({"watermark": 0, "aigc_watermark": False}, "aigc_watermark"),
    ({"extra_body": {"watermark": True, "aigc_watermark": False}}, "aigc_watermark"),
    ({"style": {"style_type": "x"}, "style_type": "y"}, "style.style_type"),
    ({"style": {"style_type": "x", "style_weight": True}, "style_weight": 1.0}, "style.style_weight"),
    ({"images": [{"image_url": "u"}], "subject_reference": [REFERENCE]}, "images"),
    ({"style": {}}, "style_type"),
    ({"style": 1}, "style"),
    ({"images": 1}, "images"),
    ({"extra_body": 1}, "extra_body"),
]


@pytest.mark.parametrize(("body", "param"), CONTRADICTIONS, ids=str)
def test_contradictory_spellings_are_rejected(body: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as rejected:
        normalize(body)
    assert rejected.value.param == param
