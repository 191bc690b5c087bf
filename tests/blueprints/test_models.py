"""`GET /v1/models` and `GET /v1/models/{id}`."""

from __future__ import annotations

import pytest

from app.model_catalog import IMAGE_01, IMAGE_01_LIVE, ModelAlias
from tests.conftest import MakeClient
from tests.support.fake_minimax import FakeMinimax
from tests.support.request_encodings import envelope

MODEL = {"id": "MiniMax-Image-01", "object": "model", "created": 1735689600, "owned_by": "minimax"}
LIVE = MODEL | {"id": "MiniMax-Image-01-live"}
NO_MODEL = envelope(
    "This model does not exist, or this API key may not use it. See GET /v1/models.", "model", "model_not_found"
)


def test_enabled_models_are_listed(make_client: MakeClient, upstream: FakeMinimax) -> None:
    for enabled, listed in (((IMAGE_01,), [MODEL]), ((IMAGE_01, IMAGE_01_LIVE), [MODEL, LIVE])):
        got = make_client(enabled_models=enabled).get("/v1/models")
        assert (got.status_code, got.get_json()) == (200, {"object": "list", "data": listed})
    assert upstream.connections == 0


@pytest.mark.parametrize("name", ["MiniMax-Image-01", "minimax-image-01", "image-01", "gpt-image-1", "GPT-IMAGE-1"])
def test_a_model_is_found_by_every_name_that_image_requests_accept(make_client: MakeClient, name: str) -> None:
    got = make_client(model_aliases={"gpt-image-1": ModelAlias(IMAGE_01)}).get(f"/v1/models/{name}")
    assert (got.status_code, got.get_json()) == (200, MODEL)


@pytest.mark.parametrize("name", ["MiniMax-Image-01-live", "image-01-live", "dall-e-3", "%00", "🦦", "%FF"])
def test_a_model_that_is_not_enabled_is_404(make_client: MakeClient, name: str) -> None:
    got = make_client().get(f"/v1/models/{name}")
    assert (got.status_code, got.get_json()) == (404, NO_MODEL)


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/image-01"])
def test_models_need_an_api_key(make_client: MakeClient, path: str) -> None:
    client = make_client()
    del client.environ_base["HTTP_AUTHORIZATION"]
    assert client.get(path).status_code == 401


def test_a_model_tells_its_price_where_there_is_one(make_client: MakeClient) -> None:
    client = make_client(enabled_models=(IMAGE_01, IMAGE_01_LIVE), prices={"MiniMax-Image-01": 3500}, currency="CNY")
    priced = MODEL | {"pricing": {"currency": "CNY", "per_image_micro_units": 3500}}
    assert client.get("/v1/models").get_json()["data"] == [priced, LIVE]
    assert client.get("/v1/models/image-01").get_json() == priced


def test_a_price_of_zero_is_a_price(make_client: MakeClient) -> None:
    got = make_client(prices={"MiniMax-Image-01": 0}).get("/v1/models/image-01").get_json()
    assert got["pricing"] == {"currency": "USD", "per_image_micro_units": 0}
