"""CORS: preflights need no key, allowed origins may read every response, others none."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app import create_app
from app.settings import Settings
from app.web.body_limits import MAX_BODY_BYTES
from app.web.cors import EXPOSED_HEADERS
from tests.conftest import MakeClient
from tests.support.processes import API_KEY, ROOT
from tests.support.request_encodings import BASE, EDITS, GENERATIONS
from tests.support.settings import unpaced

ORIGIN = "https://app.example"
OTHER = "https://other.example"
SDK_HEADERS = "authorization,content-type,x-stainless-lang,x-stainless-retry-count"
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": SDK_HEADERS}
CORS_HEADERS = ("allow-origin", "allow-methods", "allow-headers", "allow-credentials", "expose-headers", "max-age")


def cors(response: TestResponse) -> dict[str, str]:
    named = {name: response.headers.get(f"access-control-{name}") for name in CORS_HEADERS}
    return {name: value for name, value in named.items() if value is not None}


def preflight(client: FlaskClient, path: str = GENERATIONS, origin: str = ORIGIN, **more: str) -> TestResponse:
    client.environ_base.pop("HTTP_AUTHORIZATION", None)
    return client.options(path, headers={"Origin": origin, **PREFLIGHT, **more})


def words(header: str) -> set[str]:
    return {word.strip().lower() for word in header.split(",")}


# Preflights

PATHS = [GENERATIONS, EDITS, "/v1/models", "/v1/models/image-01", "/v1/nothing", "/healthz", "/"]


@pytest.mark.parametrize("path", PATHS)
def test_preflight_of_an_allowed_origin_needs_no_key(make_client: MakeClient, path: str) -> None:
    response = preflight(make_client(cors_origins=(ORIGIN,)), path)
    assert (response.status_code, response.data, response.headers.get("Content-Type")) == (204, b"", None)
    allowed = cors(response)
    assert allowed["allow-origin"] == ORIGIN
    assert "POST" in allowed["allow-methods"]
    assert words(allowed["allow-headers"]) == words(SDK_HEADERS)
    assert "allow-credentials" not in allowed
    assert int(allowed["max-age"]) > 0
    assert response.headers["Vary"] == "Origin"
    assert response.headers["x-request-id"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("allowed", [(), (OTHER,)])
def test_preflight_of_another_origin_is_204_and_allows_nothing(
    make_client: MakeClient, path: str, allowed: tuple[str, ...]
) -> None:
    response = preflight(make_client(cors_origins=allowed), path)
    assert (response.status_code, response.data, cors(response)) == (204, b"", {})


@pytest.mark.parametrize("allowed", [(), (ORIGIN,), ("*",)])
def test_options_with_an_origin_alone_is_204(make_client: MakeClient, allowed: tuple[str, ...]) -> None:
    client = make_client(cors_origins=allowed)
    del client.environ_base["HTTP_AUTHORIZATION"]
    response = client.options(GENERATIONS, headers={"Origin": ORIGIN})
    assert (response.status_code, response.data) == (204, b"")
    assert words(response.headers["Allow"]) == {"options", "post"}


@pytest.mark.parametrize("allowed", [(), (ORIGIN,)])
def test_options_without_an_origin_is_not_a_preflight(make_client: MakeClient, allowed: tuple[str, ...]) -> None:
    client = make_client(cors_origins=allowed)
    assert client.options(GENERATIONS).status_code == 200
    del client.environ_base["HTTP_AUTHORIZATION"]
    assert client.options(GENERATIONS).status_code == 401


def test_a_preflight_takes_no_slot(make_client: MakeClient) -> None:
    client = make_client(cors_origins=(ORIGIN,), max_calls=1)
    for _ in range(3):
        assert preflight(client).status_code == 204


# Responses

RESPONSES: dict[str, tuple[int, dict[str, Any]]] = {
    "success": (200, {"path": GENERATIONS, "method": "POST", "json": BASE}),
    "models": (200, {"path": "/v1/models"}),
    "no such field value": (400, {"path": GENERATIONS, "method": "POST", "json": BASE | {"n": 0}}),
    "no key": (401, {"path": GENERATIONS, "method": "POST", "json": BASE, "headers": {"Authorization": ""}}),
    "not enabled": (403, {"path": GENERATIONS, "method": "POST", "json": BASE | {"model": "image-01-live"}}),
    "no such path": (404, {"path": "/v1/nothing"}),
    "no such method": (405, {"path": GENERATIONS, "method": "DELETE"}),
    "too large": (413, {"path": GENERATIONS, "method": "POST", "data": bytes(MAX_BODY_BYTES + 1)}),
    "no JSON": (415, {"path": GENERATIONS, "method": "POST", "data": "a"}),
}


def ask(client: FlaskClient, origin: str | None, case: str) -> TestResponse:
    status, given = RESPONSES[case]
    headers = dict(given.get("headers", {})) | ({"Origin": origin} if origin else {})
    content_type = {"content_type": "application/json"} if case == "too large" else {}
    response = client.open(**{**given, **content_type, "headers": headers})
    assert response.status_code == status
    return response


@pytest.mark.parametrize("case", RESPONSES)
@pytest.mark.parametrize("allowed", [(ORIGIN,), (OTHER, ORIGIN)])
def test_an_allowed_origin_may_read_every_response(
    make_client: MakeClient, case: str, allowed: tuple[str, ...]
) -> None:
    response = ask(make_client(cors_origins=allowed), ORIGIN, case)
    assert cors(response) == {"allow-origin": ORIGIN, "expose-headers": ", ".join(EXPOSED_HEADERS)}
    assert response.headers.getlist("Vary") == ["Origin"]


@pytest.mark.parametrize("case", RESPONSES)
@pytest.mark.parametrize("origin", [ORIGIN, OTHER, "null", None])
def test_every_origin_may_read_if_all_are_allowed(make_client: MakeClient, case: str, origin: str | None) -> None:
    response = ask(make_client(cors_origins=("*",)), origin, case)
    assert cors(response) == {"allow-origin": "*", "expose-headers": ", ".join(EXPOSED_HEADERS)}
    assert "Vary" not in response.headers


REJECTED_ORIGINS = [
    OTHER,
    "null",
    "http://app.example",
    "https://app.example:8443",
    "https://app.example.evil.example",
    "https://evil.example/https://app.example",
    "https://appxexample",
    "https://www.app.example",
    "https://app.example\t",
    "",
    None,
]


@pytest.mark.parametrize("origin", REJECTED_ORIGINS)
def test_another_origin_gets_the_response_without_cors_headers(make_client: MakeClient, origin: str | None) -> None:
    for case in RESPONSES:
        response = ask(make_client(cors_origins=(ORIGIN,)), origin, case)
        assert cors(response) == {}
        assert response.headers.getlist("Vary") == ["Origin"]


@pytest.mark.parametrize("case", RESPONSES)
def test_without_the_setting_no_response_has_cors_headers(make_client: MakeClient, case: str) -> None:
    response = ask(make_client(), ORIGIN, case)
    assert cors(response) == {}
    assert "Vary" not in response.headers


@pytest.mark.parametrize("origin", ["http://[::1]:3000", "http://localhost:3000", "app://obsidian.md"])
def test_an_origin_is_matched_literally(make_client: MakeClient, origin: str) -> None:
    client = make_client(cors_origins=(origin,))
    assert cors(preflight(client, origin=origin))["allow-origin"] == origin
    for other in ("http://:", "http://1:3000", "http://localhost:30001", "app://obsidianxmd"):
        assert cors(preflight(client, origin=other)) == {}


class Broken:
    def generate_images(self, *_: object, **__: object) -> Any:
        raise RuntimeError


def test_an_allowed_origin_may_read_an_internal_error() -> None:
    app = create_app(Settings((API_KEY,), "k", cors_origins=(ORIGIN,), **unpaced()), Broken())
    headers = {"Origin": ORIGIN, "Authorization": f"Bearer {API_KEY}"}
    response = app.test_client().post(GENERATIONS, json=BASE, headers=headers)
    assert response.status_code == 500
    assert cors(response)["allow-origin"] == ORIGIN


# Exposed headers


def test_every_header_of_the_gateway_is_exposed() -> None:
    """A header that app/ sets but browsers hide was forgotten in EXPOSED_HEADERS."""
    literals = {
        name
        for path in (ROOT / "app").rglob("*.py")
        if not path.is_relative_to(ROOT / "app" / "sandbox")
        for name in re.findall(r'"(x-(?:amux|should|request)-[a-z-]+)"', path.read_text(), re.IGNORECASE)
    }
    assert {name.lower() for name in literals} <= set(EXPOSED_HEADERS), "add it to app/web/cors.py"
    assert {"x-request-id", "x-should-retry", "x-amux-ignored", "x-amux-charged", "x-amux-balance"} <= literals


def test_the_headers_of_the_contract_are_exposed() -> None:
    assert {"x-minimax-trace-id", "retry-after", "x-ratelimit-limit-requests", "x-ratelimit-reset-images"} <= set(
        EXPOSED_HEADERS
    )
