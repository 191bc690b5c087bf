"""Tasks of a gateway whose upstream key is busy: they wait for their turn, and are withdrawn."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient
from prometheus_client import REGISTRY
from werkzeug.test import TestResponse

from app.tasks.background import background_calls
from tests.support.fake_minimax import FakeMinimax, error_response, respond, success
from tests.support.images import JPEG
from tests.support.kept_images import drawing
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


def test_a_task_has_one_result_also_if_it_asks_for_a_stream(upstream: FakeMinimax, paced: FlaskClient) -> None:
    upstream.script = respond(drawing(JPEG))
    begun = paced.post(PATH, json=CALL | {"stream": True})
    assert begun.headers["x-amux-ignored"] == "stream"
    shown = paced.get(f"{begun.headers['Location']}?wait=20").json
    assert shown is not None
    assert [list(item) for item in shown["result"]["data"]] == [["b64_json"]]


@pytest.mark.parametrize("script", [success(), error_response(1026)], ids=["completed", "failed"])
def test_a_task_has_the_trace_id_of_its_call(upstream: FakeMinimax, paced: FlaskClient, script: bytes) -> None:
    upstream.script = respond(script, headers={"Trace-Id": "trace-1"})
    path = begin(paced)
    shown = paced.get(f"{path}?wait=20")
    assert shown.headers["x-minimax-trace-id"] == "trace-1"
    assert "x-should-retry" not in shown.headers  # that of the call is not that of the GET


def test_a_replayed_error_has_the_trace_id_of_its_call(upstream: FakeMinimax, paced: FlaskClient) -> None:
    upstream.script = respond(error_response(1026), headers={"Trace-Id": "trace-1"})
    replies = [paced.post("/v1/images/generations", json=CALL, headers=KEY) for _ in range(2)]
    assert [reply.headers["x-minimax-trace-id"] for reply in replies] == ["trace-1"] * 2
    assert len(upstream.received) == 1


def test_a_task_is_counted_once_however_often_it_is_fetched(upstream: FakeMinimax, paced: FlaskClient) -> None:
    before = taken_as_task()
    path = begin(paced)
    for _ in range(2):
        paced.get(f"{path}?wait=20")
    wait_until(lambda: background_calls.count == 0)
    assert taken_as_task() == before + 1


def taken_as_task() -> float:
    return REGISTRY.get_sample_value("amux_answers_taken_total", {"way": "task"}) or 0


def test_the_202_of_a_task_is_the_same_each_time(upstream: FakeMinimax, paced: FlaskClient) -> None:
    first = paced.post(PATH, json=CALL, headers=KEY)
    wait_until(lambda: background_calls.count == 0)
    second = paced.post(PATH, json=CALL, headers=KEY)
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.data == second.data
