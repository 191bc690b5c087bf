"""Valid values of every field in every encoding: the whole payload that MiniMax gets."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.support.fake_minimax import FakeMinimax, respond, success
from tests.support.request_encodings import BASE, ENCODINGS, FORM_EDITS, JSON_ENCODINGS, PLAIN, Encoding

RATIOS = ("1:1", "16:9", "4:3", "3:2", "2:3", "3:4", "9:16", "21:9")
STYLE = {"style_type": "水彩", "style_weight": 0.5}
MAX = 2**63 - 1


@dataclass(frozen=True)
class Row:
    """`fields` replace those of a valid request; MiniMax gets `sent` in addition to `PLAIN`.

    `ignored` is the whole `x-amux-ignored`.
    """

    fields: dict[str, Any]
    sent: dict[str, Any] = field(default_factory=dict)
    ignored: str | None = None

    def __str__(self) -> str:
        return json.dumps(self.fields, ensure_ascii=False)[:60]


def same(**fields: Any) -> Row:
    """Fields that are sent upstream unchanged."""
    return Row(fields, fields)


def check(client: FlaskClient, upstream: FakeMinimax, encoding: Encoding, row: Row) -> None:
    payload = PLAIN | row.sent | encoding.adds
    upstream.script = respond(success(payload["n"], response_format=payload["response_format"]))
    got = encoding.post(client, BASE | row.fields)
    assert (got.status_code, [request.json for request in upstream.received]) == (200, [payload])
    assert got.headers.get("x-amux-ignored") == row.ignored


MODELS = [
    Row({"model": name})
    for name in ("MiniMax-Image-01", "minimax-image-01", "MINIMAX-IMAGE-01", "image-01", "Image-01")
]
PROMPTS = [
    same(prompt=prompt)
    for prompt in (
        "a",
        "🦦" * 1500,
        "  kept as it is \n",
        'q"uo\\te\r\n%0A&=;',
        "null",
        "true",
        "2",
        '{"a": 1}',
        "nul \0 byte",
        "e\u0301 \u202e \ufeff",
    )
]
COUNTS = [same(n=n) for n in (1, 2, 9)]
SEEDS = [same(seed=seed) for seed in (0, 1, -1, 20260430, MAX, -MAX - 1)]
SIZES = [
    Row({"size": size}, {"aspect_ratio": ratio})
    for size, ratio in {
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
        # Reduced to lowest terms.
        "512x512": "1:1",
        "1x1": "1:1",
        "99999x99999": "1:1",
        "1920x1080": "16:9",
        "1080x1920": "9:16",
        "800x600": "4:3",
        "600x800": "3:4",
        "300x200": "3:2",
        "200x300": "2:3",
        "2100x900": "21:9",  # 7:3 in lowest terms
    }.items()
]
UNFITTING_SIZES = [Row({"size": size}, ignored="size") for size in ("1000x999", "1024x1025", "1x2", "900x2100")]
NO_SIZES = [Row({"size": size}) for size in ("auto", "", None)]
ASPECT_RATIOS = [
    *(same(aspect_ratio=ratio) for ratio in RATIOS),
    Row({"aspect_ratio": "9:16", "size": "1024x1024"}, {"aspect_ratio": "9:16"}, ignored="size"),
    Row({"aspect_ratio": "9:16", "size": "auto"}, {"aspect_ratio": "9:16"}),
    Row({"aspect_ratio": None, "size": "1024x1024"}, {"aspect_ratio": "1:1"}),
]
FORMATS = [
    Row({"response_format": ours}, {"response_format": theirs})
    for ours, theirs in {"url": "url", "b64_json": "base64", "base64": "base64"}.items()
]
SWITCHES = [
    same(prompt_optimizer=True),
    same(prompt_optimizer=False),
    Row({"watermark": True}, {"aigc_watermark": True}),
    Row({"watermark": False}, {"aigc_watermark": False}),
    same(aigc_watermark=True),
    same(aigc_watermark=False),
    Row({"watermark": True, "aigc_watermark": True}, {"aigc_watermark": True}),
]
STYLES = [
    *(
        Row({"style_type": literal}, {"style": {"style_type": literal}})
        for literal in ("漫画", "元气", "中世纪", "水彩")
    ),
    *(
        Row(
            {"style": {"style_type": "漫画", "style_weight": weight}},
            {"style": {"style_type": "漫画", "style_weight": weight}},
        )
        for weight in (1, 1.0, 0.01, 1e-9)
    ),
    same(style=STYLE),
    same(style={"style_type": "水彩"}),
    Row(STYLE, {"style": STYLE}),
    Row({"style": {"style_type": "水彩"}, "style_weight": 0.5}, {"style": STYLE}),
    Row({"style": {"style_weight": 0.5}, "style_type": "水彩"}, {"style": STYLE}),
    Row({"style": STYLE, "style_type": "水彩"}, {"style": STYLE}),
    Row({"style": STYLE | {"colour": "red"}}, {"style": STYLE}, ignored="style.colour"),
    Row({"style": {"style_type": "水彩", "style_weight": None}}, {"style": {"style_type": "水彩"}}),
    Row({"style": "vivid"}, ignored="style"),
    Row({"style": "natural"} | STYLE, {"style": STYLE}, ignored="style"),
]
EXTRA_BODIES = [
    Row({"extra_body": {"seed": 7}}, {"seed": 7}),
    Row({"extra_body": {"seed": 7}, "seed": 8}, {"seed": 8}),
    Row({"extra_body": {"seed": 7}, "seed": None}, {"seed": 7}),
    Row({"extra_body": {"seed": None}, "seed": 8}, {"seed": 8}),
    Row({"extra_body": {"seed": None}}),
    Row({"extra_body": None}),
    Row({"extra_body": {"n": 3, "size": "1024x1024"}, "size": "auto"}, {"n": 3, "aspect_ratio": "1:1"}),
    Row({"extra_body": {"prompt_optimizer": False}}, {"prompt_optimizer": False}),
    Row({"extra_body": {"watermark": True}, "aigc_watermark": False}, {"aigc_watermark": False}),
    Row({"extra_body": {"aigc_watermark": True}, "watermark": False}, {"aigc_watermark": False}),
    Row({"extra_body": {"response_format": "base64"}}, {"response_format": "base64"}),
    Row({"extra_body": {"style": STYLE}}, {"style": STYLE}),
    Row({"extra_body": STYLE}, {"style": STYLE}),
    Row({"extra_body": {"style": STYLE}, "style_weight": 0.25}, {"style": STYLE | {"style_weight": 0.25}}),
    Row({"extra_body": {"style": {"style_weight": 0.5}}, "style_type": "水彩"}, {"style": STYLE}),
    Row({"extra_body": {"style_type": "水彩"}, "style": {"style_weight": 0.5}}, {"style": STYLE}),
    Row({"extra_body": {"extra_body": {"seed": 7}}}, ignored="extra_body.extra_body"),
    Row({"extra_body": {"quality": "hd"}, "user": "u"}, ignored="quality, user"),
]
TOLERATED = [
    Row({"width": 1024}, ignored="width"),
    Row({"width": 1024, "height": 768}, ignored="height, width"),
    Row({"stream": False}),
    Row({"quality": "hd", "user": "u-1"}, ignored="quality, user"),
    Row({"background": "auto", "moderation": "low"}, ignored="background, moderation"),
    Row({"output_format": "png", "output_compression": 80}, ignored="output_compression, output_format"),
    Row({"input_fidelity": "high", "partial_images": 0}, ignored="input_fidelity, partial_images"),
    *(Row({"partial_images": count}, ignored="partial_images") for count in (1, 2, 3)),
    Row({"safety_identifier": "s", "metadata": {"a": "b"}}, ignored="metadata, safety_identifier"),
    Row({"tools": [1, 2], "N": 3, "Prompt": "x"}, ignored="N, Prompt, tools"),
    Row({"user": None}),
]
NULLS = [
    Row({name: None})
    for name in (
        *("n", "size", "aspect_ratio", "response_format", "seed", "prompt_optimizer", "watermark", "aigc_watermark"),
        *("style", "style_type", "style_weight", "width", "height", "extra_body", "mask", "image", "images"),
        *("stream", "partial_images"),
    )
]
ROWS = [
    *(Row({}), *MODELS, *PROMPTS, *COUNTS, *SEEDS, *SIZES, *UNFITTING_SIZES, *NO_SIZES, *ASPECT_RATIOS, *FORMATS),
    *(*SWITCHES, *STYLES, *EXTRA_BODIES, *TOLERATED, *NULLS),
]


@pytest.mark.parametrize("row", ROWS, ids=str)
@pytest.mark.parametrize("encoding", ENCODINGS, ids=str)
def test_every_field_reaches_minimax_in_every_encoding(
    client: FlaskClient, upstream: FakeMinimax, encoding: Encoding, row: Row
) -> None:
    check(client, upstream, encoding, row)


# Spellings that only a form has: every value is text, and an object may be one JSON string.
FORM_ROWS = [
    Row({"n": "2"}, {"n": 2}),
    Row({"seed": "-7"}, {"seed": -7}),
    Row({"prompt_optimizer": "True"}, {"prompt_optimizer": True}),  # Python's str()
    Row({"prompt_optimizer": "False"}, {"prompt_optimizer": False}),
    Row({"watermark": "true", "aigc_watermark": "True"}, {"aigc_watermark": True}),
    Row({"style": json.dumps(STYLE)}, {"style": STYLE}),
    Row({"style": json.dumps({"style_type": "水彩"}), "style_weight": "0.5"}, {"style": STYLE}),
    Row({"style": {"style_type": "水彩", "style_weight": "5e-1"}}, {"style": STYLE}),
    Row({"extra_body": '{"seed": 7}'}, {"seed": 7}),
    Row({"extra_body": ' {"seed": 7, "style": {"style_type": "水彩"}}'}, {"seed": 7, "style": {"style_type": "水彩"}}),
    Row({"extra_body": {"seed": 1, "style": json.dumps(STYLE)}}, {"seed": 1, "style": STYLE}),
    Row({"extra_body": "{}"}),
    Row({"n[": "2", "seed]": "2", "[n]": "3"}, ignored="[n], n[, seed]"),
]
# openai-node: "to pass null in FormData, you must use the string 'null'". In a text field it is text.
FORM_NULLS = [
    *(
        Row({name: "null"})
        for name in (
            *("n", "seed", "prompt_optimizer", "watermark", "aigc_watermark", "style_weight", "width", "height"),
            *("stream", "partial_images", "style", "extra_body", "subject_reference", "images"),
        )
    ),
    Row({"style": {"style_type": "水彩", "style_weight": "null"}}, {"style": {"style_type": "水彩"}}),
    Row({"style": {"style_type": "", "style_weight": ""}}),
    Row({"extra_body": {"n": "null", "seed": "", "style": "null"}}),
    Row({"extra_body": {"seed": "7"}, "seed": "null"}, {"seed": 7}),
    Row({"watermark": "null", "aigc_watermark": "true"}, {"aigc_watermark": True}),
    Row({"user": "null"}, ignored="user"),
    Row({"user": ""}),
    Row({"subject_reference": ""}),
    Row({"subject_reference": "[]"}),
]


@pytest.mark.parametrize("row", FORM_ROWS + FORM_NULLS, ids=str)
def test_text_in_a_form_is_read_as_the_typed_value(client: FlaskClient, upstream: FakeMinimax, row: Row) -> None:
    check(client, upstream, FORM_EDITS, row)


@pytest.mark.parametrize("encoding", JSON_ENCODINGS, ids=str)
def test_an_empty_string_in_json_is_not_null(client: FlaskClient, upstream: FakeMinimax, encoding: Encoding) -> None:
    for name in ("aspect_ratio", "response_format", "style_type", "n", "seed"):
        got = encoding.post(client, BASE | {name: ""})
        assert (got.status_code, got.get_json()["error"]["param"]) == (400, name)
    assert upstream.received == []
