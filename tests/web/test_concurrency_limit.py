"""The concurrency limit: a full gateway rejects calls before reading the body, and every slot is released."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app import create_app
from app.metrics import REJECTED_FULL
from app.minimax.errors import MinimaxError
from app.services.image_request import ImageResult
from app.services.image_service import Minimax
from app.settings import Settings
from tests.conftest import AUTH
from tests.support.processes import API_KEY
from tests.support.settings import unpaced

DRAWN = ImageResult(images=("http://images.example/0.jpeg",), metadata=None, trace_id=None, upstream_ms=1)
DOCUMENT = {"model": "MiniMax-Image-01", "prompt": "an otter"}
PATHS = ("/v1/images/generations", "/v1/images/edits")


class Held:
    """A MiniMax client whose calls wait until `let_go` is set."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.let_go = threading.Event()
        self.calls = 0

    def generate_images(self, payload: Mapping[str, Any], api_key: str) -> ImageResult:
        self.calls += 1
        self.begun.release()
        assert self.let_go.wait(30)
        return DRAWN


class Failing:
    def __init__(self, error: Exception) -> None:
        self.error = error

    def generate_images(self, payload: Mapping[str, Any], api_key: str) -> ImageResult:
        raise self.error


class Drawing:
    def generate_images(self, payload: Mapping[str, Any], api_key: str) -> ImageResult:
        return DRAWN


def new_client(minimax: Minimax, max_calls: int) -> FlaskClient:
    client = create_app(Settings((API_KEY,), "k", max_calls=max_calls, **unpaced()), minimax).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = AUTH["Authorization"]
    return client


def draw(client: FlaskClient) -> TestResponse:
    return client.post(PATHS[0], json=DOCUMENT, buffered=True)


@contextmanager
def full_gateway(max_calls: int) -> Iterator[tuple[FlaskClient, Held]]:
    """A gateway with every slot taken. On exit all of its calls have completed."""
    minimax = Held()
    client = new_client(minimax, max_calls)
    statuses: list[int] = []
    threads = [threading.Thread(target=lambda: statuses.append(draw(client).status_code)) for _ in range(max_calls)]
    for thread in threads:
        thread.start()
        assert minimax.begun.acquire(timeout=30)
    yield client, minimax
    minimax.let_go.set()
    for thread in threads:
        thread.join(30)
    assert statuses == [200] * max_calls


def test_a_call_above_the_limit_is_rejected_counted_and_not_sent() -> None:
    before = REJECTED_FULL._value.get()
    with full_gateway(2) as (client, minimax):
        rejected = draw(client)
        assert minimax.calls == 2
    assert (rejected.status_code, rejected.headers["x-should-retry"]) == (503, "true")
    assert 1 <= int(rejected.headers["Retry-After"]) <= 60
    assert rejected.json == {
        "error": {
            "message": "The gateway is at its concurrency limit; retry in 2 seconds.",
            "type": "minimax_image_error",
            "param": None,
            "code": "gateway_full",
        }
    }
    assert REJECTED_FULL._value.get() == before + 1
    assert draw(client).status_code == 200


@pytest.mark.parametrize("path", PATHS)
def test_only_image_calls_need_a_slot(path: str) -> None:
    with full_gateway(1) as (client, _):
        assert client.post(path, json=DOCUMENT, buffered=True).status_code == 503
        assert client.get(path).status_code == 405
        assert client.post(path, json=DOCUMENT, headers={"Authorization": "Bearer unknown"}).status_code == 401
        for other in ("/v1/models", "/healthz", "/readyz", "/metrics"):
            assert client.get(other).status_code == 200


@pytest.mark.parametrize("error", [MinimaxError(1002), MinimaxError("upstream_deadline"), KeyError(), OSError()])
def test_a_failed_call_releases_its_slot(error: Exception) -> None:
    client = new_client(Failing(error), max_calls=1)
    for _ in range(3):
        assert draw(client).json["error"]["code"] != "gateway_full"  # type: ignore[index]


def test_an_invalid_request_releases_its_slot() -> None:
    client = new_client(Drawing(), max_calls=1)
    for content_type, body, status in (
        ("application/json", b"{", 400),
        ("application/json", b"{}", 400),
        ("text/plain", b"{}", 415),
        ("multipart/form-data; boundary=x", b"--x", 400),
        ("application/json", b"a" * (16 * 1024 * 1024 + 1), 413),
    ):
        for path in PATHS:
            got = client.post(path, data=body, content_type=content_type, buffered=True)
            assert got.status_code == (415 if "form" in content_type and path == PATHS[0] else status)
        assert client.options(path, buffered=True).status_code == 200
    assert draw(client).status_code == 200


def test_a_slot_is_held_until_the_response_is_sent() -> None:
    client = new_client(Drawing(), max_calls=1)
    unread = client.post(PATHS[0], json=DOCUMENT, buffered=False)
    assert unread.status_code == 200
    assert draw(client).status_code == 503
    unread.close()
    assert draw(client).status_code == 200
