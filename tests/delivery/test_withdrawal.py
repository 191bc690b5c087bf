"""Tasks that wait for their turn are withdrawn: nothing is sent, and they take up no slot."""

from __future__ import annotations

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.tasks.background import background_calls
from tests.support.fake_minimax import FakeMinimax
from tests.support.waiting import wait_until

PATH = "/v1/images/generations/async"
CALL = {"model": "MiniMax-Image-01", "prompt": "an otter"}
KEY = {"Idempotency-Key": "order 1"}


def begin(client: FlaskClient, headers: dict[str, str] | None = None) -> str:
    """The path of a new task."""
    begun = client.post(PATH, json=CALL, headers=headers or {})
    assert begun.status_code == 202
    return begun.headers["Location"]


def code_of(response: TestResponse) -> str:
    assert response.json is not None
    return str(response.json["error"]["code"])


def take_the_turn(client: FlaskClient, upstream: FakeMinimax) -> str:
    """The path of a task that is drawn, after which others wait."""
    drawn = begin(client)
    wait_until(lambda: len(upstream.received) == 1 and background_calls.count == 0)
    return drawn


def test_a_withdrawn_task_takes_up_no_slot(upstream: FakeMinimax, paced: FlaskClient) -> None:
    drawn = take_the_turn(paced, upstream)
    for _ in range(2):  # as often as the gateway has slots
        queued = [begin(paced) for _ in range(2)]
        assert code_of(paced.post(PATH, json=CALL)) == "gateway_full"
        for path in queued:
            shown = paced.get(path).json
            assert shown is not None
            assert shown["status"] == "queued"
            assert paced.delete(path).json == {"id": shown["id"], "object": "image.task", "deleted": True}
        wait_until(lambda: background_calls.count == 0)
    assert paced.delete(queued[0]).status_code == 404
    assert code_of(paced.delete(drawn)) == "task_not_withdrawn"
    assert len(upstream.received) == 1


def test_a_task_that_was_begun_twice_is_withdrawn(upstream: FakeMinimax, paced: FlaskClient) -> None:
    """A client repeats the request whose 202 was lost. That does not wait for the answer."""
    take_the_turn(paced, upstream)
    first, second = begin(paced, KEY), begin(paced, KEY)
    assert first == second
    assert paced.delete(first).status_code == 200
    wait_until(lambda: background_calls.count == 0)
    assert len(upstream.received) == 1


def test_the_202_of_a_task_that_has_ended_says_so(upstream: FakeMinimax, paced: FlaskClient) -> None:
    first = paced.post(PATH, json=CALL, headers=KEY)
    wait_until(lambda: background_calls.count == 0)
    second = paced.post(PATH, json=CALL, headers=KEY)
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json is not None
    assert first.json["status"] == "in_progress"
    assert second.json == first.json | {"status": "completed"}
