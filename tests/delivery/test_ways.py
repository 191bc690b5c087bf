"""The five ways of taking an answer, on an app in this process. tests/integration has them with a real gunicorn."""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse
from werkzeug.wrappers import Response

from app.objects.location import FileLocation
from app.tasks.background import background_calls
from tests.conftest import MakeClient
from tests.support.fake_minimax import FakeMinimax, Script, error_response, reset, respond, success, when
from tests.support.images import JPEG, PNG
from tests.support.kept_images import LARGE_JPEG, PUBLIC_URL, drawing, path_of
from tests.support.task_stores import park
from tests.support.waiting import wait_until

GENERATIONS, TASKS = "/v1/images/generations", "/v1/images/tasks"
CALL = {"model": "MiniMax-Image-01", "prompt": "an otter"}
KEY = {"Idempotency-Key": "order 1"}
RETRY = {"x-stainless-retry-count": "1"}
PATIENT = {"minimax_timeout_seconds": 60.0}  # for calls that a test holds at MiniMax

Send = Callable[..., TestResponse]


@pytest.fixture
def client(make_client: MakeClient, tmp_path: Path) -> Iterator[FlaskClient]:
    """A gateway with a store of answers of its own, whose streams send their head after 0.1 s."""
    times = {"stream_head_seconds": 0.1, "stream_heartbeat_seconds": 0.2}
    client = make_client(state_folder=str(tmp_path), **PATIENT, **times)
    supervisor = client.application.extensions["task_supervisor"]
    supervisor.start()
    yield client
    wait_until(lambda: background_calls.count == 0)
    park(supervisor)


@pytest.fixture
def send(client: FlaskClient) -> Send:
    def send(headers: dict[str, str] | None = None, path: str = GENERATIONS, **fields: Any) -> TestResponse:
        return client.post(path, json=CALL | fields, headers=headers or {})

    return send


@contextmanager
def held(upstream: FakeMinimax, then: Script) -> Iterator[threading.Event]:
    """MiniMax responds only once the event is set, which the end of the context does too."""
    released = threading.Event()
    upstream.script = when(released, then)
    try:
        yield released
    finally:
        released.set()


def released_events(client: FlaskClient, released: threading.Event, **fields: Any) -> list[dict[str, Any]]:
    """The events of a stream whose call, unless it has ended, is released once the head is sent."""
    sent = CALL | {"stream": True} | fields
    with client.post(GENERATIONS, json=sent, buffered=False) as response:  # not buffered: it returns with the head
        assert response.status_code == 200
        released.set()
        return events(response)


def events(response: Response) -> list[dict[str, Any]]:
    assert response.mimetype == "text/event-stream"
    lines = response.get_data(as_text=True).splitlines()
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


SCRIPTS: dict[str, tuple[Any, dict[str, Any], int]] = {
    "success": (respond(success()), {}, 200),
    "large": (respond(drawing(LARGE_JPEG)), {"response_format": "b64_json"}, 200),
    "withheld": (respond(error_response(1026)), {}, 403),
    "reset": (reset, {}, 502),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_key_is_answered_twice_and_drawn_once(upstream: FakeMinimax, send: Send, name: str) -> None:
    upstream.script, fields, status = SCRIPTS[name]
    first, second = send(KEY, **fields), send(KEY, **fields)
    assert (first.status_code, second.status_code) == (status, status)
    assert first.data == second.data
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert len(upstream.received) == 1


def test_a_key_is_free_again_after_a_rate_limit(upstream: FakeMinimax, send: Send) -> None:
    upstream.script = respond(error_response(1002))
    assert send(KEY).status_code == 429
    upstream.script = respond(success())
    assert send(KEY).status_code == 200
    assert len(upstream.received) == 2


def test_a_key_of_another_request_is_422(upstream: FakeMinimax, send: Send) -> None:
    assert send(KEY).status_code == 200
    rejected = send(KEY, prompt="a beaver")
    assert rejected.status_code == 422
    assert rejected.json is not None
    assert rejected.json["error"]["code"] == "idempotency_key_reused"
    assert len(upstream.received) == 1


@pytest.mark.parametrize("sent", ["", "a" * 256, "caf\u00e9"], ids=["empty", "long", "not ASCII"])
def test_an_invalid_key_is_400(upstream: FakeMinimax, send: Send, sent: str) -> None:
    rejected = send({"Idempotency-Key": sent})
    assert rejected.status_code == 400
    assert rejected.json is not None
    assert rejected.json["error"]["param"] == "Idempotency-Key"
    assert upstream.received == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_task_is_begun_and_fetched(upstream: FakeMinimax, client: FlaskClient, send: Send, name: str) -> None:
    upstream.script, fields, status = SCRIPTS[name]
    begun = send({"Prefer": "respond-async"}, **fields)
    assert begun.status_code == 202
    assert begun.headers["Preference-Applied"] == "respond-async"
    shown = client.get(f"{begun.headers['Location']}?wait=20")
    assert shown.headers["Cache-Control"] == "no-store"
    assert shown.json is not None
    if status == 200:
        assert shown.json["status"] == "completed"
        assert shown.json["result"]["data"]
    else:
        assert shown.json["status"] == "failed"
        assert shown.json["error"]["http_status"] == status
    listed = client.get(TASKS).json
    assert listed is not None
    assert [task["id"] for task in listed["data"]] == [shown.json["id"]]


def test_a_running_task_says_when_to_ask_again(upstream: FakeMinimax, client: FlaskClient, send: Send) -> None:
    with held(upstream, respond(success())):
        begun = send(path=f"{GENERATIONS}/async")
        running = client.get(begun.headers["Location"])
    assert running.json is not None
    assert running.json["status"] in ("queued", "in_progress")
    assert int(running.headers["Retry-After"]) >= 1


def test_a_key_makes_beginning_a_task_safe_to_repeat(upstream: FakeMinimax, send: Send) -> None:
    first, second = (send(KEY, path=f"{GENERATIONS}/async") for _ in range(2))
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.headers["Location"] == second.headers["Location"]
    wait_until(lambda: background_calls.count == 0)
    assert len(upstream.received) == 1


@pytest.mark.parametrize("path", [f"{TASKS}/{'0' * 32}", f"{TASKS}/%00", f"{TASKS}/x"])
def test_an_unknown_task_is_404(client: FlaskClient, path: str) -> None:
    missing = client.get(path)
    assert missing.status_code == 404
    assert missing.json is not None
    assert missing.json["error"]["code"] == "task_not_found"


@pytest.mark.parametrize("query", ["wait=-1", "wait=61", "wait=x", "wait=1&wait=2"])
def test_an_invalid_wait_is_400(client: FlaskClient, query: str) -> None:
    rejected = client.get(f"{TASKS}/{'0' * 32}?{query}")
    assert rejected.status_code == 400
    assert rejected.json is not None
    assert rejected.json["error"]["param"] == "wait"


def test_a_model_that_is_not_served_is_refused_before_the_202(upstream: FakeMinimax, send: Send) -> None:
    assert send(path=f"{GENERATIONS}/async", model="MiniMax-Image-01-live").status_code == 403
    assert upstream.received == []


@pytest.mark.parametrize("is_late", [False, True], ids=["quick", "late"])
def test_a_stream_has_an_event_for_each_image(upstream: FakeMinimax, client: FlaskClient, is_late: bool) -> None:
    with held(upstream, respond(drawing(LARGE_JPEG, PNG))) as released:
        if not is_late:
            released.set()
        found = released_events(client, released, n=2)
    assert [event["type"] for event in found] == ["image_generation.completed"] * 2
    assert [base64.b64decode(event["b64_json"]) for event in found] == [LARGE_JPEG, PNG]
    assert [event["output_format"] for event in found] == ["jpeg", "png"]


@pytest.mark.parametrize(("head", "trace_id"), [(30, "trace-1"), (0, None)], ids=["quick", "late"])
def test_the_head_of_a_stream_has_the_headers_that_are_known(
    upstream: FakeMinimax, make_client: MakeClient, tmp_path: Path, head: float, trace_id: str | None
) -> None:
    client = make_client(state_folder=str(tmp_path), stream_head_seconds=head, **PATIENT)
    with held(upstream, respond(drawing(JPEG), headers={"Trace-Id": "trace-1"})) as released:
        if trace_id:
            released.set()
        with client.post(GENERATIONS, json=CALL | {"stream": True}, buffered=False) as response:
            released.set()
            assert len(events(response)) == 1
    assert response.status_code == 200
    assert response.headers.get("x-minimax-trace-id") == trace_id


def test_a_quick_failure_of_a_stream_has_its_status(
    upstream: FakeMinimax, make_client: MakeClient, tmp_path: Path
) -> None:
    upstream.script = respond(error_response(1026))
    client = make_client(state_folder=str(tmp_path), stream_head_seconds=30.0)
    assert client.post(GENERATIONS, json=CALL | {"stream": True}).status_code == 403


def test_a_late_failure_of_a_stream_is_an_event(upstream: FakeMinimax, client: FlaskClient) -> None:
    with held(upstream, respond(error_response(1026))) as released:
        [event] = released_events(client, released)
    assert event["error"]["code"] == "1026"


def test_a_stream_is_replayed_as_a_stream(upstream: FakeMinimax, send: Send) -> None:
    upstream.script = respond(drawing(LARGE_JPEG))
    first, second = (events(send(KEY, stream=True)) for _ in range(2))
    assert first == second
    assert send(KEY, response_format="b64_json").status_code == 422  # its items would have other fields
    assert len(upstream.received) == 1


def test_a_stream_of_a_failed_key_has_its_status(upstream: FakeMinimax, send: Send) -> None:
    upstream.script = respond(error_response(1026))
    assert [send(KEY, stream=True).status_code for _ in range(2)] == [403, 403]
    assert len(upstream.received) == 1


@pytest.mark.parametrize("stream", [False, True], ids=["JSON", "stream"])
def test_a_retry_joins_a_call_that_runs(upstream: FakeMinimax, client: FlaskClient, send: Send, stream: bool) -> None:
    supervisor = client.application.extensions["task_supervisor"]
    fields = {"stream": True} if stream else {"response_format": "b64_json"}
    with ThreadPoolExecutor(2) as pool, held(upstream, respond(drawing(JPEG))) as released:
        first = pool.submit(send, **fields)
        wait_until(lambda: any(call.is_stored for call in list(supervisor._calls.values())))
        joined = pool.submit(send, RETRY, **fields)
        wait_until(lambda: len(supervisor._waiters) == 1)
        released.set()
    heartbeat = b": waiting\n"
    assert first.result().data.replace(heartbeat, b"") == joined.result().data.replace(heartbeat, b"")
    assert len(upstream.received) == 1


def closing(connection_of_caller: socket.socket) -> Script:
    """Draw once the caller has left: one that leaves before its turn is not drawn for."""

    def draw(connection: socket.socket) -> None:
        connection_of_caller.close()
        respond(success())(connection)

    return draw


def test_a_retry_takes_the_answer_of_a_caller_that_left(upstream: FakeMinimax, client: FlaskClient, send: Send) -> None:
    ours, theirs = socket.socketpair()
    upstream.script = closing(theirs)
    with ours:
        left = client.post(GENERATIONS, json=CALL, environ_overrides={"gunicorn.socket": ours})
    retried, again = send(RETRY), send(RETRY)
    assert (left.json, retried.status_code) == (retried.json, 200)
    assert again.status_code == 200
    assert len(upstream.received) == 2  # each call is joined once


def test_a_retry_with_nothing_to_join_is_a_new_call(upstream: FakeMinimax, send: Send) -> None:
    assert [send(headers).status_code for headers in (None, RETRY)] == [200, 200]
    assert len(upstream.received) == 2


def test_joining_can_be_turned_off(upstream: FakeMinimax, make_client: MakeClient, tmp_path: Path) -> None:
    client = make_client(state_folder=str(tmp_path), join_retries=False)
    ours, theirs = socket.socketpair()
    upstream.script = closing(theirs)
    with ours:
        client.post(GENERATIONS, json=CALL, environ_overrides={"gunicorn.socket": ours})
    assert client.post(GENERATIONS, json=CALL, headers=RETRY).status_code == 200
    assert len(upstream.received) == 2


def test_images_are_kept_served_and_deleted(upstream: FakeMinimax, make_client: MakeClient, tmp_path: Path) -> None:
    kept = {"image_store": FileLocation(tmp_path / "images"), "public_url": PUBLIC_URL}
    client = make_client(state_folder=str(tmp_path), **kept)
    upstream.script = respond(drawing(LARGE_JPEG))
    drawn = client.post(GENERATIONS, json=CALL).json
    assert drawn is not None
    path = path_of(drawn["data"][0]["url"])
    served = client.get(path)
    assert (served.data, served.headers["X-Content-Type-Options"]) == (LARGE_JPEG, "nosniff")
    assert client.get(path, headers={"Range": "bytes=0-3"}).data == LARGE_JPEG[:4]
    assert client.get("/images/..%2fetc").status_code == 404
    image_id = path.rpartition("/")[2].partition(".")[0]
    assert client.delete(f"/v1/images/{image_id}").json == {"id": image_id, "object": "image", "deleted": True}
    assert client.get(path).status_code == 404
