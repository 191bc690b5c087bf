"""Answers of earlier calls that cannot be read, or of which nobody reads all."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.delivery.sent_body import SentBody
from app.errors import DatabaseUnavailable
from app.objects.store import Chunks
from app.storage.task_store import SqlTaskStore
from app.tasks.body import StreamedBody
from app.tasks.supervisor import Supervisor
from tests.conftest import MakeClient
from tests.support.fake_minimax import FakeMinimax, error_response, respond
from tests.support.kept_images import LARGE_JPEG, drawing

GENERATIONS = "/v1/images/generations"
CALL = {"model": "MiniMax-Image-01", "prompt": "an otter", "response_format": "b64_json"}
STREAM = CALL | {"stream": True}
KEY = {"Idempotency-Key": "order 1"}


@pytest.fixture
def answered(upstream: FakeMinimax, make_client: MakeClient, tmp_path: Path) -> FlaskClient:
    """A gateway that has a large answer to `STREAM` with `KEY`."""
    upstream.script = respond(drawing(LARGE_JPEG))
    client = make_client(state_folder=str(tmp_path))
    assert client.post(GENERATIONS, json=STREAM, headers=KEY).status_code == 200
    return client


def code_of(response: TestResponse) -> str:
    assert response.json is not None
    return str(response.json["error"]["code"])


def test_a_stream_of_half_an_answer_is_410(upstream: FakeMinimax, answered: FlaskClient, tmp_path: Path) -> None:
    """A disk may lose what was written; the other way of losing it is an eviction while it is read."""
    [body] = [path for path in (tmp_path / "answers").rglob("*") if path.is_file()]
    body.write_bytes(body.read_bytes()[:1000])
    response = answered.post(GENERATIONS, json=STREAM, headers=KEY)
    assert (response.status_code, code_of(response)) == (410, "answer_expired")
    assert len(upstream.received) == 1


@pytest.mark.parametrize("method", ["ended", "body"])
@pytest.mark.parametrize("sent", [CALL, STREAM], ids=["JSON", "stream"])
def test_an_answer_that_cannot_be_looked_up_is_not_taken(
    answered: FlaskClient, monkeypatch: pytest.MonkeyPatch, method: str, sent: dict[str, object]
) -> None:
    """The earlier call may have been sent, so the error must not say that nothing was."""
    key = {"Idempotency-Key": f"of {sent}"}
    assert answered.post(GENERATIONS, json=sent, headers=key).status_code == 200
    supervisor: Supervisor = answered.application.extensions["task_supervisor"]
    store = supervisor._store
    assert isinstance(store, SqlTaskStore)
    taken: list[str] = []

    def fail(_ids: object) -> None:
        raise DatabaseUnavailable

    with monkeypatch.context() as broken:
        broken.setattr(store, method, fail)
        broken.setattr(store, "take", lambda task_id, _attendant: taken.append(task_id))
        response = answered.post(GENERATIONS, json=sent, headers=key)
    assert (response.status_code, code_of(response)) == (503, "storage_unavailable")
    assert response.headers["x-should-retry"] == "true"
    assert "Nothing was sent" not in response.get_data(as_text=True)
    assert taken == []
    assert answered.post(GENERATIONS, json=sent, headers=key).status_code == 200


def test_headers_of_an_answer_that_cannot_be_read_are_not_sent(
    upstream: FakeMinimax, answered: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of this refusal say that a retry does not help."""
    key = {"Idempotency-Key": "of a refusal"}
    upstream.script = respond(error_response(1026))
    assert answered.post(GENERATIONS, json=CALL, headers=key).status_code == 403

    def fail(_id: object) -> None:
        raise DatabaseUnavailable

    monkeypatch.setattr(answered.application.extensions["task_supervisor"]._store, "body", fail)
    response = answered.post(GENERATIONS, json=CALL, headers=key)
    assert (response.status_code, response.headers["x-should-retry"]) == (503, "true")


def test_the_answer_of_a_head_request_is_closed(answered: FlaskClient) -> None:
    """Warnings are errors, and an open file that is collected is one."""
    listed = answered.get("/v1/images/tasks").json
    assert listed is not None
    head = answered.head(f"/v1/images/tasks/{listed['data'][0]['id']}")
    assert head.status_code == 200
    assert int(head.headers["Content-Length"]) > len(LARGE_JPEG)
    gc.collect()


@pytest.mark.parametrize("read", [0, 1, 2], ids=["nothing", "a part", "all"])
def test_a_body_is_closed_however_much_of_it_was_sent(read: int) -> None:
    closed: list[None] = []
    parts: Iterator[bytes] = iter([b"a", b"b", b""])
    body = SentBody(StreamedBody(Chunks(lambda: next(parts), lambda: closed.append(None)), 2), lambda: False)
    chunks = iter(body)
    for _ in range(read):
        next(chunks)
    body.close()
    assert closed
