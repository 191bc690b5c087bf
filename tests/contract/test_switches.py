"""Settings that change requests: models, aliases, width and height, the default response format."""

from __future__ import annotations

from typing import Any

import pytest

from app.model_catalog import IMAGE_01, IMAGE_01_LIVE, ModelAlias
from tests.conftest import MakeClient
from tests.support.fake_minimax import FakeMinimax, respond, success
from tests.support.request_encodings import BASE, EDITS, ENCODINGS, GENERATIONS, PLAIN, Encoding, envelope

LIVE = IMAGE_01_LIVE.id
BOTH = (IMAGE_01, IMAGE_01_LIVE)
STYLE = {"style_type": "漫画", "style_weight": 0.5}
ON_LIVE: list[tuple[dict[str, Any], dict[str, Any], str | None]] = [
    ({}, {}, None),
    ({"style": STYLE}, {"style": STYLE}, None),
    ({"aspect_ratio": "16:9"}, {"aspect_ratio": "16:9"}, None),
    ({"size": "1792x1024"}, {"aspect_ratio": "16:9"}, None),
    ({"size": "1344x576"}, {}, "size"),  # not among the seven ratios of the live model
]


@pytest.mark.parametrize(("fields", "sent", "ignored"), ON_LIVE, ids=str)
@pytest.mark.parametrize("name", [LIVE, LIVE.upper(), "image-01-live"])
def test_the_live_model_is_served_once_enabled(
    make_client: MakeClient,
    upstream: FakeMinimax,
    name: str,
    fields: dict[str, Any],
    sent: dict[str, Any],
    ignored: str | None,
) -> None:
    client = make_client(enabled_models=BOTH)
    got = client.post(GENERATIONS, json=BASE | {"model": name} | fields)
    assert got.status_code == 200
    assert [request.json for request in upstream.received] == [PLAIN | {"model": "image-01-live"} | sent]
    assert got.headers.get("x-amux-ignored") == ignored


def test_the_live_model_does_not_draw_21_to_9(make_client: MakeClient, upstream: FakeMinimax) -> None:
    got = make_client(enabled_models=BOTH).post(GENERATIONS, json=BASE | {"model": LIVE, "aspect_ratio": "21:9"})
    message = "aspect_ratio must not be 21:9 with MiniMax-Image-01-live."
    assert (got.status_code, got.get_json()) == (400, envelope(message, "aspect_ratio"))
    assert upstream.received == []


@pytest.mark.parametrize("encoding", ENCODINGS[1:], ids=str)
@pytest.mark.parametrize("enabled", [BOTH, (IMAGE_01_LIVE,)], ids=["both", "live only"])
def test_edits_never_serves_the_live_model(
    make_client: MakeClient, upstream: FakeMinimax, encoding: Encoding, enabled: tuple[object, ...]
) -> None:
    client = make_client(enabled_models=enabled, model_aliases={"alias": ModelAlias(IMAGE_01_LIVE)})
    for name in (LIVE, "alias"):
        got = encoding.post(client, BASE | {"model": name})
        message = "MiniMax-Image-01-live is not served by this endpoint."
        assert (got.status_code, got.get_json()) == (403, envelope(message, "model", "model_not_authorized"))
    assert upstream.received == []


def test_a_disabled_model_is_403(make_client: MakeClient, upstream: FakeMinimax) -> None:
    got = make_client(enabled_models=(IMAGE_01_LIVE,)).post(GENERATIONS, json=BASE)
    message = "MiniMax-Image-01 is not enabled on this gateway."
    assert (got.status_code, got.get_json()) == (403, envelope(message, "model", "model_not_authorized"))
    assert upstream.received == []


def test_the_error_for_an_unknown_model_lists_the_served_ones(make_client: MakeClient) -> None:
    got = make_client(enabled_models=BOTH).post(GENERATIONS, json=BASE | {"model": "dall-e-3"})
    message = "model is unknown; served here: MiniMax-Image-01, MiniMax-Image-01-live."
    assert (got.status_code, got.get_json()) == (400, envelope(message, "model"))


@pytest.mark.parametrize("encoding", ENCODINGS, ids=str)
@pytest.mark.parametrize("name", ["gpt-image-1", "GPT-Image-1"])
def test_an_alias_selects_its_model(
    make_client: MakeClient, upstream: FakeMinimax, encoding: Encoding, name: str
) -> None:
    got = encoding.post(make_client(model_aliases={"gpt-image-1": ModelAlias(IMAGE_01)}), BASE | {"model": name})
    assert (got.status_code, [request.json for request in upstream.received]) == (200, [PLAIN | encoding.adds])


@pytest.mark.parametrize("encoding", ENCODINGS, ids=str)
@pytest.mark.parametrize(
    ("asked", "theirs", "ours"),
    [(None, "base64", "b64_json"), ("url", "url", "url"), ("b64_json", "base64", "b64_json")],
)
def test_the_default_response_format_applies_to_requests_without_one(
    make_client: MakeClient, upstream: FakeMinimax, encoding: Encoding, asked: str | None, theirs: str, ours: str
) -> None:
    upstream.script = respond(success(response_format=theirs))
    got = encoding.post(make_client(default_response_format="b64_json"), BASE | {"response_format": asked})
    assert (got.status_code, [request.json["response_format"] for request in upstream.received]) == (200, [theirs])
    assert [list(item) for item in got.get_json()["data"]] == [[ours]]


FORMAT_ALIASES = {
    "vercel": ModelAlias(IMAGE_01, "b64_json"),
    "langchain": ModelAlias(IMAGE_01, "url"),
    "plain": ModelAlias(IMAGE_01),
}


@pytest.mark.parametrize("encoding", ENCODINGS, ids=str)
@pytest.mark.parametrize(
    ("name", "asked", "default", "ours"),
    [
        ("vercel", None, "url", "b64_json"),
        ("VERCEL", None, "url", "b64_json"),
        ("vercel", "url", "url", "url"),
        ("langchain", None, "b64_json", "url"),
        ("langchain", "base64", "url", "b64_json"),
        ("plain", None, "b64_json", "b64_json"),
        ("plain", None, "url", "url"),
        ("MiniMax-Image-01", None, "b64_json", "b64_json"),
        ("image-01", None, "url", "url"),
    ],
)
def test_an_alias_may_have_its_own_default_response_format(
    make_client: MakeClient,
    upstream: FakeMinimax,
    encoding: Encoding,
    name: str,
    asked: str | None,
    default: str,
    ours: str,
) -> None:
    theirs = {"url": "url", "b64_json": "base64"}[ours]
    upstream.script = respond(success(response_format=theirs))
    client = make_client(model_aliases=FORMAT_ALIASES, default_response_format=default)
    got = encoding.post(client, BASE | {"model": name, "response_format": asked})
    assert (got.status_code, [request.json["response_format"] for request in upstream.received]) == (200, [theirs])
    assert [list(item) for item in got.get_json()["data"]] == [[ours]]


DIMENSIONS: list[tuple[dict[str, Any], dict[str, Any], str | None]] = [
    ({}, {}, None),
    ({"width": 512, "height": 2048}, {"width": 512, "height": 2048}, None),
    ({"width": 1024, "height": 1032}, {"width": 1024, "height": 1032}, None),
    ({"width": 1024, "height": 768, "size": "1024x1024"}, {"width": 1024, "height": 768}, "size"),
    ({"width": None, "height": None, "size": "1024x1024"}, {"aspect_ratio": "1:1"}, None),
]


@pytest.mark.parametrize(("fields", "sent", "ignored"), DIMENSIONS, ids=str)
@pytest.mark.parametrize("encoding", ENCODINGS, ids=str)
def test_width_and_height_are_forwarded_once_turned_on(
    make_client: MakeClient,
    upstream: FakeMinimax,
    encoding: Encoding,
    fields: dict[str, Any],
    sent: dict[str, Any],
    ignored: str | None,
) -> None:
    """No aspect ratio is sent with them, because MiniMax would prefer it."""
    got = encoding.post(make_client(forward_dimensions=True), BASE | fields)
    assert (got.status_code, [request.json for request in upstream.received]) == (200, [PLAIN | sent | encoding.adds])
    assert got.headers.get("x-amux-ignored") == ignored


STEPS = "must be a multiple of 8 from 512 to 2048"
BAD_DIMENSIONS: list[tuple[dict[str, Any], str, str]] = [
    *(({"width": bad, "height": 512}, "width", STEPS) for bad in (511, 504, 513, 2049, 2056, 0, -512, 10**30)),
    *(({"width": 512, "height": bad}, "height", STEPS) for bad in (511, 504, 513, 2049, 2056, 0, -512)),
    ({"width": 512}, "height", "is required with width"),
    ({"height": 512}, "width", "is required with height"),
    ({"height": 512, "width": None}, "width", "is required with height"),
    ({"width": 512, "height": 512, "aspect_ratio": "1:1"}, "aspect_ratio", "must not be given beside width and height"),
]


@pytest.mark.parametrize(("fields", "param", "fault"), BAD_DIMENSIONS, ids=str)
@pytest.mark.parametrize("encoding", ENCODINGS, ids=str)
def test_invalid_width_and_height_are_rejected(
    make_client: MakeClient,
    upstream: FakeMinimax,
    encoding: Encoding,
    fields: dict[str, Any],
    param: str,
    fault: str,
) -> None:
    got = encoding.post(make_client(forward_dimensions=True), BASE | fields)
    assert (got.status_code, got.get_json()) == (400, envelope(f"{param} {fault}.", param))
    assert upstream.received == []


def test_width_and_height_are_for_image_01_only(make_client: MakeClient, upstream: FakeMinimax) -> None:
    client = make_client(forward_dimensions=True, enabled_models=BOTH)
    got = client.post(GENERATIONS, json=BASE | {"model": LIVE, "width": 512, "height": 512})
    assert (got.status_code, got.get_json()) == (
        400,
        envelope("width is not supported by MiniMax-Image-01-live.", "width"),
    )
    assert upstream.received == []


def test_settings_apply_to_edits_as_to_generations(make_client: MakeClient, upstream: FakeMinimax) -> None:
    """A JSON body to edits gets the same alias, default format and dimensions as one to generations."""
    aliases = {"m": ModelAlias(IMAGE_01)}
    client = make_client(model_aliases=aliases, default_response_format="b64_json", forward_dimensions=True)
    upstream.script = respond(success(response_format="base64"))
    body = {
        "model": "M",
        "prompt": "p",
        "width": 512,
        "height": 520,
        "subject_reference": [{"type": "character", "image_file": "https://example.com/a.jpg"}],
    }
    for path in (GENERATIONS, EDITS):
        assert client.post(path, json=body).status_code == 200
    first, second = (request.json for request in upstream.received)
    assert first == second
    assert first["width"] == 512
