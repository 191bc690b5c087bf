"""The bound on upstream calls: a full gateway refuses at once, and every slot comes back."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import pytest

from app import create_app
from app.catalogue import IMAGE_01
from app.config import Settings
from app.errors import GatewayFull
from app.image_request import ImageRequest
from app.minimax.answer import Answer
from app.minimax.errors import MinimaxError
from app.services.image_service import ImageService
from tests.conftest import AUTH
from tests.support.processes import API_KEY

REQUEST = ImageRequest(model=IMAGE_01, prompt="an otter", n=1, response_format="url")
DRAWN = Answer(images=("http://pictures.example/0.jpeg",), metadata=None, trace_id=None, upstream_ms=1)


class Held:
    """A client whose calls wait until they are let go."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.let_go = threading.Event()
        self.calls = 0

    def generate_images(self, payload: Mapping[str, Any]) -> Answer:
        self.calls += 1
        self.begun.release()
        assert self.let_go.wait(30)
        return DRAWN


class Failing:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def generate_images(self, payload: Mapping[str, Any]) -> Answer:
        raise self.error


def test_the_call_after_the_last_slot_is_refused_and_sends_nothing() -> None:
    minimax = Held()
    service = ImageService(minimax, max_calls=2)
    answers: list[Answer] = []
    threads = [threading.Thread(target=lambda: answers.append(service.generate(REQUEST))) for _ in range(2)]
    for thread in threads:
        thread.start()
        assert minimax.begun.acquire(timeout=30)

    with pytest.raises(GatewayFull):
        service.generate(REQUEST)
    assert minimax.calls == 2

    minimax.let_go.set()
    for thread in threads:
        thread.join(30)
    assert answers == [DRAWN, DRAWN]
    assert service.generate(REQUEST) == DRAWN


@pytest.mark.parametrize("error", [MinimaxError(1002), MinimaxError("upstream_deadline"), KeyError(), SystemExit()])
def test_a_slot_comes_back_whatever_happens(error: BaseException) -> None:
    service = ImageService(Failing(error), max_calls=1)
    for _ in range(3):
        with pytest.raises(type(error)):
            service.generate(REQUEST)


def test_a_caller_of_a_full_gateway_may_come_back() -> None:
    minimax = Held()
    app = create_app(Settings(api_keys=(API_KEY,), minimax_api_key="k", max_calls=1), minimax)

    def draw() -> Any:
        document = {"model": "MiniMax-Image-01", "prompt": "an otter"}
        return app.test_client().post("/v1/images/generations", json=document, headers=AUTH)

    statuses: list[int] = []
    thread = threading.Thread(target=lambda: statuses.append(draw().status_code))
    thread.start()
    assert minimax.begun.acquire(timeout=30)
    refused = draw()
    minimax.let_go.set()
    thread.join(30)

    assert statuses == [200]
    assert (refused.status_code, refused.headers["x-should-retry"]) == (503, "true")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert refused.json == {
        "error": {
            "message": "The gateway is busy with as many calls as it can hold: try again in a moment.",
            "type": "minimax_image_error",
            "param": None,
            "code": "gateway_full",
        }
    }
