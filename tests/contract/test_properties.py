"""Properties: any request gets a 200 or a 4xx, and MiniMax gets only what it accepts.

Near-valid requests have at most two invalid fields, so that both outcomes occur often.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import event, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from app import create_app
from app.errors import InvalidRequest
from app.model_catalog import IMAGE_01, IMAGE_01_LIVE, ModelAlias
from app.sandbox.rules import RequestSchema
from app.schemas.normalization import normalize
from app.services.image_request import ImageResult
from app.settings import Settings
from app.spooling.json_writer import JsonBody
from tests.conftest import AUTH
from tests.support.client import client_of
from tests.support.images import JPEG, PNG, WEBP, data_url
from tests.support.processes import API_KEY, UPSTREAM_KEY
from tests.support.request_encodings import EDITS, GENERATIONS, Part, a_file, as_reference, post_parts, texts
from tests.support.settings import unpaced

RATIOS = ("1:1", "16:9", "4:3", "3:2", "2:3", "3:4", "9:16", "21:9")
SETTINGS: dict[str, dict[str, Any]] = {
    "as it comes": {},
    "all turned on": {
        "enabled_models": (IMAGE_01, IMAGE_01_LIVE),
        "forward_dimensions": True,
        "default_response_format": "b64_json",
        "model_aliases": {"gpt-image-1": ModelAlias(IMAGE_01)},
    },
}


class Recorder:
    """A MiniMax client that accepts what MiniMax accepts, and fails the test for anything else."""

    def __init__(self) -> None:
        self.payloads: list[dict[str, Any]] = []

    def generate_images(self, payload: Mapping[str, Any], api_key: str) -> ImageResult:
        on_the_wire = json.loads(b"".join(JsonBody(payload)))
        RequestSchema().load(on_the_wire)
        assert on_the_wire.get("aspect_ratio", "1:1") in RATIOS
        self.payloads.append(on_the_wire)
        return ImageResult(images=("x",), metadata=None, trace_id=None, upstream_ms=1)


class Gateway:
    """A test client of the app, with the payloads that it sent and the statuses that it returned."""

    def __init__(self, **chosen: Any) -> None:
        self.recorder = Recorder()
        base = {"api_keys": (API_KEY,), "minimax_api_key": UPSTREAM_KEY}
        self.client: FlaskClient = client_of(create_app(Settings(**(base | unpaced() | chosen)), self.recorder))
        self.client.environ_base["HTTP_AUTHORIZATION"] = AUTH["Authorization"]
        self.statuses: Counter[int] = Counter()

    def check(self, got: TestResponse) -> None:
        """Check for 200 and one call, or 4xx, an error envelope and no call."""
        event(f"status {got.status_code}")
        self.statuses[got.status_code] += 1
        payloads, self.recorder.payloads = self.recorder.payloads, []
        document = got.get_json()
        if got.status_code == 200:
            assert len(payloads) == 1
            assert [set(item) for item in document["data"]] in ([{"url"}], [{"b64_json"}])
            return
        assert 400 <= got.status_code < 500, document
        assert payloads == []
        error = document.pop("error")
        assert document == {}
        assert set(error) == {"message", "type", "param", "code"}
        assert (error["type"], bool(error["message"])) == ("minimax_image_error", True)

    def json(self, path: str, body: Any) -> TestResponse:
        return self.client.post(path, data=json.dumps(body), content_type="application/json")


@pytest.fixture(params=list(SETTINGS))
def gateway(request: pytest.FixtureRequest) -> Gateway:
    return Gateway(**SETTINGS[request.param])


ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=12)  # lone surrogates too
ANY_NUMBER = st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0, 1, 10, -1, 2**63])
ANY_JSON = st.recursive(
    st.none() | st.booleans() | ANY_NUMBER | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=8,
)

PROMPTS = st.text(st.characters(codec="utf-8", exclude_characters="\ufffd"), max_size=20).map("p{}".format)
SIZES = st.builds("{}x{}".format, st.integers(1, 4000), st.integers(1, 4000))
STYLE_TYPES = st.sampled_from(["漫画", "元气", "中世纪", "水彩"])
WEIGHTS = st.floats(0, 1, exclude_min=True) | st.just(1)
DATA_URLS = [
    data_url(JPEG),
    data_url(PNG),
    data_url(JPEG) + "\n",
    data_url(PNG).rstrip("="),
    data_url(PNG).replace("/", "%2F"),
]
IMAGE_FILES = st.sampled_from([*DATA_URLS, "https://example.com/a.jpg", "http://a/水彩?b=1"])
REFERENCES = (IMAGE_FILES | st.lists(IMAGE_FILES, min_size=1, max_size=3)).map(as_reference)
STYLES = st.fixed_dictionaries({"style_type": STYLE_TYPES}, optional={"style_weight": WEIGHTS})

OPTIONAL: dict[str, st.SearchStrategy[Any]] = {
    "n": st.integers(1, 9),
    "size": SIZES | st.sampled_from(["auto", "1024x1024", "1344x576"]),
    "aspect_ratio": st.sampled_from(RATIOS),
    "response_format": st.sampled_from(["url", "b64_json", "base64"]),
    "seed": st.integers(-(2**63), 2**63 - 1),
    "prompt_optimizer": st.booleans(),
    "watermark": st.booleans(),
    "style": STYLES | st.sampled_from(["vivid", "natural"]),
    "stream": st.just(False),
    "user": st.just("u"),
    "quality": st.sampled_from(["hd", "auto"]),
}
# Fields that are valid alone, and may conflict with others or with the gateway's settings.
CONFLICTING: dict[str, st.SearchStrategy[Any]] = {
    "aigc_watermark": st.booleans(),
    "style_type": STYLE_TYPES,
    "style_weight": WEIGHTS,
    "width": st.integers(64, 256).map(lambda n: n * 8),
    "height": st.integers(64, 256).map(lambda n: n * 8),
    "images": IMAGE_FILES.map(lambda url: [{"image_url": url}]),
    "image": IMAGE_FILES
    | st.builds(lambda name, url: [{name: url}], st.sampled_from(["url", "image_url"]), IMAGE_FILES),
}
MODELS = st.sampled_from(["MiniMax-Image-01", "image-01", "IMAGE-01"])
NAMES = (*OPTIONAL, *CONFLICTING, "model", "prompt", "subject_reference", "extra_body", "mask", "image")


def bodies(**required: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    fields = st.fixed_dictionaries({"model": MODELS, "prompt": PROMPTS} | required, optional=OPTIONAL)
    extra = st.fixed_dictionaries({}, optional=OPTIONAL).filter(bool)
    return st.builds(lambda body, more: body | ({"extra_body": more} if more else {}), fields, st.none() | extra)


@st.composite
def near_valid(draw: st.DrawFn) -> dict[str, Any]:
    body = draw(bodies() | bodies(subject_reference=REFERENCES) | bodies(image=CONFLICTING["image"]))
    if draw(st.booleans()):
        body |= draw(st.fixed_dictionaries({}, optional=CONFLICTING))
    for name in draw(st.just(()) | st.lists(st.sampled_from(NAMES), max_size=2)):
        body[name] = draw(ANY_JSON | st.sampled_from(["MiniMax-Image-01-live", "gpt-image-1", "", None]))
    return body


def check_statuses_are_frequent(gateway: Gateway, *statuses: int) -> None:
    """Check that each status is 5% of the responses or more, so that rejecting everything does not pass."""
    for status in statuses:
        assert gateway.statuses[status] >= 0.05 * gateway.statuses.total(), gateway.statuses


@pytest.mark.parametrize("path", [GENERATIONS, EDITS])
def test_any_json_value_gets_200_or_4xx(gateway: Gateway, path: str) -> None:
    @settings(max_examples=150)
    @given(ANY_JSON | st.dictionaries(st.sampled_from(NAMES) | ANY_TEXT, ANY_JSON))
    def run(body: Any) -> None:
        gateway.check(gateway.json(path, body))

    run()


@pytest.mark.parametrize("path", [GENERATIONS, EDITS])
def test_any_near_valid_json_gets_200_or_4xx(gateway: Gateway, path: str) -> None:
    @settings(max_examples=200)
    @given(near_valid())
    def run(body: dict[str, Any]) -> None:
        gateway.check(gateway.json(path, body))

    run()
    check_statuses_are_frequent(gateway, 200, 400)


def test_any_bytes_get_200_or_4xx(gateway: Gateway) -> None:
    pieces = [b"--b", b"\r\n", b'Content-Disposition: form-data; name="', b'"', b"{", b"}", b":", b"[", b"\xff", b"--"]
    some_bytes = st.binary() | st.lists(st.sampled_from(pieces) | st.binary(max_size=3)).map(b"".join)

    @given(some_bytes, st.sampled_from(["application/json", "multipart/form-data; boundary=b"]))
    def run(body: bytes, content_type: str) -> None:
        gateway.check(gateway.client.post(EDITS, data=body, content_type=content_type))

    run()


FILES = st.builds(
    a_file,
    st.sampled_from([JPEG, PNG]) | st.sampled_from([WEBP, b""]) | st.binary(max_size=20),
    part=st.sampled_from(["image", "image[]", "image[0]"]) | st.sampled_from(["mask", "images", "x", *NAMES]),
    name=st.sampled_from(["a.jpg", "upload", "", "../x"]) | ANY_TEXT,
    mime_type=st.sampled_from(["image/jpeg", "application/octet-stream", "text/plain; charset=utf-16", "?"]),
)
FIELD_NAMES = st.builds(
    lambda name, keys: name + "".join(f"[{key}]" for key in keys),
    st.sampled_from(NAMES) | ANY_TEXT,
    st.lists(st.sampled_from(["", "0", "1", "style_type", "type", "image_file", "[", "]"]) | ANY_TEXT, max_size=3),
)
FIELD_VALUES = ANY_TEXT | st.binary(max_size=8) | ANY_JSON.map(json.dumps) | IMAGE_FILES | st.just("character")
ANY_PARTS = st.lists(st.tuples(FIELD_NAMES, FIELD_VALUES) | FILES, max_size=6)


def parts_of(body: Mapping[str, Any]) -> list[Part]:
    return [part for name, value in body.items() for part in texts(name, value)]


@st.composite
def near_valid_parts(draw: st.DrawFn) -> list[Part]:
    with_file = draw(st.booleans())
    body = draw(near_valid() | (bodies() if with_file else bodies(subject_reference=REFERENCES)))
    parts = parts_of(body) + ([a_file()] if with_file else []) + draw(st.just([]) | ANY_PARTS)
    return draw(st.permutations(parts)) if draw(st.booleans()) else parts


def test_any_form_gets_200_or_4xx(gateway: Gateway) -> None:
    @settings(max_examples=200)
    @given(ANY_PARTS)
    def run(parts: list[Part]) -> None:
        gateway.check(post_parts(gateway.client, *parts))

    run()


def test_any_near_valid_form_gets_200_or_4xx(gateway: Gateway) -> None:
    @settings(max_examples=300)
    @given(near_valid_parts())
    def run(parts: list[Part]) -> None:
        gateway.check(post_parts(gateway.client, *parts))

    run()
    check_statuses_are_frequent(gateway, 200, 400)


def test_json_and_form_send_the_same_payload(gateway: Gateway) -> None:
    """The same valid body in both encodings gives the same payload and the same ignored names."""

    @settings(max_examples=200)
    @given(bodies(subject_reference=REFERENCES) | bodies(image=CONFLICTING["image"]))
    def run(body: dict[str, Any]) -> None:
        in_json = gateway.json(EDITS, body)
        in_form = post_parts(gateway.client, *parts_of(body))
        assert (in_json.status_code, in_form.status_code) == (200, 200), (in_json.data, in_form.data)
        first, second = gateway.recorder.payloads
        gateway.recorder.payloads.clear()
        assert first == second
        assert in_json.headers.get("x-amux-ignored") == in_form.headers.get("x-amux-ignored")

    run()


@given(near_valid() | st.dictionaries(st.sampled_from(NAMES) | ANY_TEXT, ANY_JSON))
def test_normalization_is_idempotent(body: dict[str, Any]) -> None:
    try:
        once = normalize(body)
    except InvalidRequest:
        event("rejected")
        return
    event("normalized")
    assert json.dumps(normalize(once)) == json.dumps(once)
    assert not {"extra_body", "aigc_watermark", "images"} & set(once)
    assert None not in once.values()


def test_sizes_reach_every_ratio_and_no_other(gateway: Gateway) -> None:
    """Sizes equal or close to a multiple of each ratio. `Recorder` checks the ratio that is sent."""
    seen: Counter[str | None] = Counter()

    @settings(max_examples=300)
    @given(ratio=st.sampled_from(RATIOS), times=st.integers(1, 2000), off=st.sampled_from([0, 0, 1]))
    def run(ratio: str, times: int, off: int) -> None:
        width, height = (int(side) * times for side in ratio.split(":"))
        body = {"model": "image-01", "prompt": "p", "size": f"{width + off}x{height}"}
        got = gateway.json(GENERATIONS, body)
        assert got.status_code == 200
        seen[gateway.recorder.payloads.pop().get("aspect_ratio")] += 1

    run()
    assert set(seen) == {*RATIOS, None}
