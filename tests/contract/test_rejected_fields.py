"""Invalid values of every field in every encoding: the whole error, and nothing sent to MiniMax."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.support.fake_minimax import FakeMinimax
from tests.support.request_encodings import (
    BASE,
    EDITS,
    ENCODINGS,
    FORM_EDITS,
    GENERATIONS,
    JSON_ENCODINGS,
    Encoding,
    as_reference,
    envelope,
    post_form,
)

REQUIRED = ...  # removes the field from the valid request


@dataclass(frozen=True)
class Row:
    """`fields` replace those of a valid request; `param` names the faulty field and begins the message."""

    fields: dict[str, Any] = field(repr=False)
    param: str
    fault: str

    @property
    def body(self) -> dict[str, Any]:
        return {name: value for name, value in (BASE | self.fields).items() if value is not REQUIRED}

    def __str__(self) -> str:
        return repr(self.fields)[:60]


def each(name: str, fault: str, *values: Any) -> list[Row]:
    return [Row({name: value}, name, fault) for value in values]


def check(client: FlaskClient, upstream: FakeMinimax, encoding: Encoding, row: Row) -> None:
    got = encoding.post(client, row.body)
    assert (got.status_code, got.get_json()) == (400, envelope(f"{row.param} {row.fault}.", row.param))
    assert got.headers["x-should-retry"] == "false"
    assert upstream.received == []


TYPES = "漫画, 元气, 中世纪, 水彩"
RATIOS = "1:1, 16:9, 4:3, 3:2, 2:3, 3:4, 9:16, 21:9"
UNKNOWN_MODEL = "is unknown; served here: MiniMax-Image-01"
NO_SIZE = "must be WIDTHxHEIGHT in pixels, like 1024x1024, or auto"
NO_SEED = "must be from -9223372036854775808 to 9223372036854775807"
NO_WEIGHT = "must be above 0 and at most 1"
MASK = "is not supported: MiniMax redraws a character, it does not inpaint"
INTEGERS = ("n", "seed", "width", "height", "partial_images")
BOOLEANS = ("prompt_optimizer", "watermark", "stream")
TEXTS = ("model", "prompt", "size", "aspect_ratio", "response_format", "style_type")

ROWS = [
    *each("model", "is required", REQUIRED, None),
    *each("model", UNKNOWN_MODEL, "dall-e-3", "gpt-image-1", "image-02", " image-01", "image-01\0", "ｉmage-01"),
    *each("prompt", "is required", REQUIRED, None),
    *each("prompt", "must not be empty", " ", "\n\t \u3000\u2028"),
    *each("prompt", "must have at most 1500 characters, not 1501", "a" * 1501, "🦦" * 1501, "a" * 1500 + " "),
    *each("n", "must be from 1 to 9", 0, 10, -1, 10**18),
    *each("n", "must be an integer", 1.5, 1.0, "two", "１", "2 "),
    *each("size", NO_SIZE, "1024", "1024×1024", "1024X1024", "x", "1024x", "x1024", "1024x1024x1", "big", "null"),
    *each("size", NO_SIZE, "0x0", "0x1024", "1024x0", "-1x1", "01x1", " 1x1", "1x1\n", "1 x 1", "1.5x1", "AUTO"),
    *each("size", NO_SIZE, "１０２４x１０２４", "100000x1", "9" * 5000 + "x1", "1:1", "1x1\0"),
    *each("aspect_ratio", f"must be one of: {RATIOS}", "1:2", "16:10", "16/9", "auto", "1:1 ", "１:１", "7:3", "1x1"),
    *each("response_format", "must be one of: url, b64_json, base64", "png", "B64_JSON", "URL", "bytes"),
    *each("seed", NO_SEED, 2**63, -(2**63) - 1, 10**30),
    *each("seed", "must be an integer", 1.5, 1e3, "seven"),
    *each("prompt_optimizer", "must be true or false", "yes", "1", "on", 1, 0),
    *each("watermark", "must be true or false", "TRUE", 1, "0"),
    *each("style_type", f"must be one of: {TYPES}", "manga", "漫画 ", "漫", "null"),
    *(
        Row({"style_type": "漫画", "style_weight": weight}, "style_weight", NO_WEIGHT)
        for weight in (0, 0.0, -0.1, 1.0001, 2, -(10**30))
    ),
    Row({"style_type": "漫画", "style_weight": "heavy"}, "style_weight", "must be a number"),
    Row({"style_type": "漫画", "style_weight": True}, "style_weight", "must be a number"),
    Row({"style_weight": 0.5}, "style_type", "is required with style_weight"),
    Row({"style": {"style_weight": 0.5}}, "style_type", "is required with style"),
    Row({"style": {"colour": "red"}}, "style_type", "is required with style"),
    Row({"extra_body": {"style": {"style_weight": 0.5}}}, "style_type", "is required with style"),
    Row({"style": {"style_type": "manga"}}, "style_type", f"must be one of: {TYPES}"),
    Row({"style": ["水彩"]}, "style", "must be an object"),
    Row(
        {"style": {"style_type": "水彩"}, "style_type": "漫画"},
        "style.style_type",
        "and style_type mean the same and differ",
    ),
    Row(
        {"style": {"style_type": "水彩", "style_weight": 0.5}, "style_weight": 0.6},
        "style.style_weight",
        "and style_weight mean the same and differ",
    ),
    Row({"watermark": True, "aigc_watermark": False}, "aigc_watermark", "and watermark mean the same and differ"),
    Row({"aigc_watermark": "maybe"}, "watermark", "must be true or false"),
    *each("width", "must be an integer", "wide", 512.5),
    *each("height", "must be an integer", "high", True),
    *each("stream", "must be true or false", "maybe", 1),
    *each("partial_images", "must be from 0 to 3", -1, 4, 10**18),
    *each("partial_images", "must be an integer", 1.0, "two", True),
    Row({"stream": True, "partial_images": 4}, "partial_images", "must be from 0 to 3"),
    Row({"stream": True, "response_format": "png"}, "response_format", "must be one of: url, b64_json, base64"),
    *each("mask", MASK, "data:image/png;base64,AAAA", "x"),
    *each("extra_body", "must be an object", "seed=1", ["seed"]),
    Row({"extra_body": {"n": 10}}, "n", "must be from 1 to 9"),
    Row({"extra_body": {"mask": "x"}}, "mask", MASK),
]


@pytest.mark.parametrize("row", ROWS, ids=str)
@pytest.mark.parametrize("encoding", ENCODINGS, ids=str)
def test_an_invalid_field_is_named_in_every_encoding(
    client: FlaskClient, upstream: FakeMinimax, encoding: Encoding, row: Row
) -> None:
    check(client, upstream, encoding, row)


ANYTHING: tuple[Any, ...] = ("text", "2", "true", 2, 2.5, True, [], [1], {}, {"a": 1}, [[]])


def of_other_types(name: str, fault: str, *right: type) -> list[Row]:
    return [row for value in ANYTHING if type(value) not in right for row in each(name, fault, value)]


# Faults that exist in JSON only, because a form has only text.
JSON_ROWS = [
    *(row for name in INTEGERS for row in of_other_types(name, "must be an integer", int)),
    *(row for name in BOOLEANS for row in of_other_types(name, "must be true or false", bool)),
    *(row for name in TEXTS for row in of_other_types(name, "must be a string of valid Unicode", str)),
    *of_other_types("style_weight", "must be a number", int, float),
    *of_other_types("extra_body", "must be an object", dict),
    *of_other_types("style", "must be an object", dict, str),
    *of_other_types("mask", MASK),
    *each("model", UNKNOWN_MODEL, ""),
    *each("prompt", "must not be empty", ""),
    *each("prompt", "must be a string of valid Unicode", "\ud800", "a\udfff"),
    *each("aspect_ratio", f"must be one of: {RATIOS}", ""),
    *each("response_format", "must be one of: url, b64_json, base64", ""),
    Row({"style": {}}, "style_type", "is required with style"),
    Row({"style": {"style_type": None}}, "style_type", "is required with style"),
    # 1 and true are equal in Python, and not in JSON.
    Row({"watermark": 1, "aigc_watermark": True}, "aigc_watermark", "and watermark mean the same and differ"),
    Row(
        {"style": {"style_type": "水彩", "style_weight": 1}, "style_weight": True},
        "style.style_weight",
        "and style_weight mean the same and differ",
    ),
]


@pytest.mark.parametrize("row", JSON_ROWS, ids=str)
@pytest.mark.parametrize("encoding", JSON_ENCODINGS, ids=str)
def test_a_wrong_json_type_is_never_coerced(
    client: FlaskClient, upstream: FakeMinimax, encoding: Encoding, row: Row
) -> None:
    check(client, upstream, encoding, row)


FORM_ROWS = [
    *each("model", "is required", ""),
    *each("prompt", "is required", ""),
    *each("n", "must be an integer", "2.0", "1e0", "0x2", "+2", "02", "1_0", " 2", "true", '"2"', "NaN", "[2]", "٢"),
    *each("seed", "must be an integer", "-", "Infinity", "9" * 41, "9" * 100_000),
    *each("prompt_optimizer", "must be true or false", "TRUE", "tRue", " true", "false\n", "none", "None", "{}"),
    *each("style_weight", "must be a number", "NaN", "Infinity", "-Infinity", "1e999", "0,5", "½"),
    *each("style", "must be an object", "[1]", '["水彩"]'),
    *each("extra_body", "must be an object", "[]", "seed", "1", "true"),
    Row({"n": [1, 2]}, "n", "must be an integer"),
    Row({"prompt": {"a": "b"}}, "prompt", "must be a string of valid Unicode"),
    Row({"style": {"0": "水彩"}}, "style", "must be an object"),
]


@pytest.mark.parametrize("row", FORM_ROWS, ids=str)
def test_a_typed_form_field_must_be_a_json_literal(client: FlaskClient, upstream: FakeMinimax, row: Row) -> None:
    check(client, upstream, FORM_EDITS, row)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "style",
            "{",
            "style is not valid JSON: Expecting property name enclosed in double quotes, at line 1, column 2.",
        ),
        ("extra_body", '{"n": NaN}', "extra_body holds a number that is not finite, or too long."),
        ("extra_body", '{"n": 1, "n": 2}', "extra_body gives n twice in one object."),
        ("extra_body", '{"a":' * 5000, "extra_body is nested too deeply."),
        ("subject_reference", "[" * 5000, "subject_reference is nested too deeply."),
        ("images", "[}", "images is not valid JSON: Expecting value, at line 1, column 2."),
    ],
)
def test_json_inside_a_form_is_parsed_strictly(
    client: FlaskClient, upstream: FakeMinimax, name: str, text: str, message: str
) -> None:
    got = FORM_EDITS.post(client, BASE | {name: text})
    assert (got.status_code, got.get_json()) == (400, envelope(message, name, "invalid_json"))
    assert upstream.received == []


@pytest.mark.parametrize("encoding", ENCODINGS, ids=str)
@pytest.mark.parametrize("model", ["MiniMax-Image-01-live", "image-01-live", "minimax-image-01-LIVE"])
def test_a_known_model_that_is_not_enabled_is_403(
    client: FlaskClient, upstream: FakeMinimax, encoding: Encoding, model: str
) -> None:
    got = encoding.post(client, BASE | {"model": model})
    assert (got.status_code, got.get_json()) == (
        403,
        envelope("MiniMax-Image-01-live is not enabled on this gateway.", "model", "model_not_authorized"),
    )
    assert upstream.received == []


def test_edits_needs_a_reference(client: FlaskClient, upstream: FakeMinimax) -> None:
    message = envelope("image is required: a JPEG or PNG file, or subject_reference.", "image")
    for got in (
        client.post(EDITS, json=BASE),
        client.post(EDITS, json=BASE | {"subject_reference": []}),
        client.post(EDITS, json=BASE | {"images": None}),
        post_form(client, BASE),
        post_form(client, BASE | {"image": "", "subject_reference": "null"}),
    ):
        assert (got.status_code, got.get_json()) == (400, message)
    assert upstream.received == []


def test_the_first_invalid_field_is_reported(client: FlaskClient) -> None:
    got = client.post(GENERATIONS, json={"seed": "x", "n": 0, "prompt": "", "model": "image-01"})
    assert got.get_json() == envelope("prompt must not be empty.", "prompt")


@pytest.mark.parametrize("path", [GENERATIONS, EDITS])
def test_a_body_replaced_by_openai_node_is_explained(client: FlaskClient, upstream: FakeMinimax, path: str) -> None:
    got = client.post(path, json={"subject_reference": as_reference("https://example.com/face.jpg")})
    error = got.get_json()["error"]
    assert (got.status_code, error["param"], error["code"]) == (400, "model", "invalid_value")
    assert "`body` replaces the whole body" in error["message"]
    assert "first argument" in error["message"]
    assert upstream.received == []


def test_messages_are_bounded_in_length(client: FlaskClient) -> None:
    long = "a" * 100_000
    bodies = [json.dumps(BASE | {name: long}) for name in (*TEXTS, *INTEGERS, *BOOLEANS, "extra_body")]
    bodies.append(f'{{"{long}": 1, "{long}": 2}}')
    for body in bodies:
        got = client.post(GENERATIONS, data=body, content_type="application/json")
        assert got.status_code == 400
        assert len(got.data) < 400
    for fields in ({f"{long}[]": "x", f"{long}[b]": "x"}, {f"{long}[][][][][]": "x"}, {long: "\ufffd"}):
        got = post_form(client, BASE | fields)
        assert (got.status_code, len(got.data) < 400) == (400, True)
