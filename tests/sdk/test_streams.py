"""Streaming calls of the four OpenAI SDKs against a real gunicorn, and against nginx in front of it."""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from tests.sdk.cases import FACE_REFERENCE, MODEL, PLAIN, PROMPT, logged, new_request_id
from tests.sdk.conftest import at
from tests.sdk.streams import PARAMETERS, Programs, Sdk, StreamError
from tests.support.fake_minimax import FakeMinimax, Script, error_response, reset, respond, success, when
from tests.support.gateway_and_upstream import GatewayAndUpstream, start_gateway_and_upstream
from tests.support.images import JPEG
from tests.support.nginx import nginx
from tests.support.processes import API_KEY, Served
from tests.support.waiting import wait_until

FIELDS = {"model": MODEL, "prompt": PROMPT, "size": "1024x1024", "n": 3}
SENT = PLAIN | {"n": 3, "aspect_ratio": "1:1", "response_format": "base64"}

# Images that differ, of a few bytes, of more than one read of a socket, and of MiniMax's usual size and above.
IMAGES = tuple(JPEG + bytes([number]) * extra for number, extra in enumerate((0, 200_000, 3_000_000), start=1))
DRAWN = success(3, response_format="base64") | {
    "data": {"image_base64": [base64.b64encode(image).decode() for image in IMAGES]}
}


@dataclass(frozen=True)
class Failure:
    """MiniMax runs `script`; the gateway's status, code and message follow from it."""

    name: str
    script: Script
    status: int
    code: str
    message: str


FAILURES = (
    Failure("refused", respond(error_response(1026, "the reason")), 403, "1026", "sensitive (the reason)"),
    Failure("interrupted", reset, 502, "upstream_interrupted", "may have been generated, and charged to the gateway"),
)
ALL_FAILURES = pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.name)

# The class of the error by the gateway's status, if the head was not sent yet. Java's names end in Exception.
CLASSES = {403: "PermissionDenied", 502: "InternalServer"}
# The same for an error event: the SDK's class, and the status that the error shows.
EVENT_CLASSES: dict[str, tuple[str, int | None]] = {
    "python": ("APIError", None),
    "node": ("APIError", None),
    "go": ("ssestream.StreamError", None),
    "java": ("SseException", 200),
}


def status_error(sdk: Sdk, failure: Failure) -> StreamError:
    name = CLASSES[failure.status]
    kinds = {"python": f"{name}Error", "node": f"{name}Error", "go": "openai.Error", "java": f"{name}Exception"}
    return StreamError(kinds[sdk.name], failure.status, failure.code)


def event_error(sdk: Sdk, failure: Failure) -> StreamError:
    return StreamError(*EVENT_CLASSES[sdk.name], failure.code)


@pytest.fixture(scope="module")
def streaming(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayAndUpstream]:
    """A gateway that sends the head of a stream after a second, in front of a fake MiniMax."""
    folder = tmp_path_factory.mktemp("streaming")
    with start_gateway_and_upstream(folder, AMUX_STREAM_HEAD_SECONDS="1") as started:
        yield started


@pytest.fixture(scope="module")
def nginx_of_streaming(streaming: GatewayAndUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with nginx(tmp_path_factory.mktemp("front"), streaming.gateway.url) as front:
        yield front.url


@pytest.fixture
def upstream(streaming: GatewayAndUpstream) -> FakeMinimax:
    return streaming.reset_upstream()


@pytest.fixture
def gateway(
    streaming: GatewayAndUpstream, upstream: FakeMinimax, through: str, request: pytest.FixtureRequest
) -> Served:
    return at(streaming.gateway, through, "nginx_of_streaming", request)


@pytest.fixture(scope="module")
def programs() -> Iterator[Programs]:
    started = Programs()
    yield started
    started.close()


@pytest.fixture(params=PARAMETERS)
def sdk(programs: Programs, request: pytest.FixtureRequest) -> Sdk:
    return programs.start(request.param)


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """Lets the upstream respond, after `when(released, …)`."""
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.parametrize("endpoint", ["generations", "edits"])
def test_a_stream_has_a_typed_event_for_each_image(
    sdk: Sdk, gateway: Served, upstream: FakeMinimax, face: Path, endpoint: str
) -> None:
    upstream.script = respond(DRAWN)
    image = face if endpoint == "edits" else None
    outcome = sdk.call(gateway, FIELDS | {"partial_images": 2}, new_request_id(), image)
    assert (outcome.error, outcome.message) == (None, "")
    kind = "image_edit.completed" if image else "image_generation.completed"
    assert outcome.events == [
        {
            "type": kind,
            "sha256": hashlib.sha256(drawn).hexdigest(),
            "size": "1024x1024",
            "output_format": "jpeg",
        }
        for drawn in IMAGES
    ]
    assert [request.json for request in upstream.received] == [
        SENT | ({"subject_reference": FACE_REFERENCE} if image else {})
    ]


@pytest.mark.parametrize("endpoint", ["generations", "edits"])
@ALL_FAILURES
def test_a_quick_failure_keeps_its_http_status(
    sdk: Sdk, gateway: Served, upstream: FakeMinimax, face: Path, endpoint: str, failure: Failure
) -> None:
    """No SDK sends it again: the head says so, as for a call without a stream."""
    upstream.script = failure.script
    outcome = sdk.call(gateway, FIELDS, new_request_id(), face if endpoint == "edits" else None)
    assert outcome.events == []
    assert outcome.error == status_error(sdk, failure)
    assert failure.message in outcome.message
    assert len(upstream.received) == 1


@ALL_FAILURES
def test_a_late_failure_is_an_error_event(
    sdk: Sdk, gateway: Served, upstream: FakeMinimax, released: threading.Event, failure: Failure
) -> None:
    """The SDK raises the gateway's message, and the log has the status that the head could not have."""
    upstream.script = when(released, failure.script)
    request_id = new_request_id()
    sdk.begin(gateway, FIELDS, request_id)
    sdk.wait_for_head()
    released.set()
    outcome = sdk.end()
    assert outcome.events == []
    assert outcome.error == event_error(sdk, failure)
    assert failure.message in outcome.message
    assert len(upstream.received) == 1
    wait_until(lambda: bool(logged(gateway, request_id)), "the line of the access log")
    assert [(line["status"], line["code"]) for line in logged(gateway, request_id)] == [(failure.status, failure.code)]


def test_a_late_success_has_the_same_events(
    sdk: Sdk, gateway: Served, upstream: FakeMinimax, released: threading.Event
) -> None:
    """Comment lines before the first event are no events."""
    upstream.script = when(released, respond(DRAWN))
    sdk.begin(gateway, FIELDS, new_request_id())
    sdk.wait_for_head()
    released.set()
    outcome = sdk.end()
    assert (outcome.error, outcome.message) == (None, "")
    assert [event["sha256"] for event in outcome.events] == [hashlib.sha256(drawn).hexdigest() for drawn in IMAGES]
    assert len(upstream.received) == 1


def test_the_answer_of_a_caller_that_left_is_kept(
    sdk: Sdk, gateway: Served, upstream: FakeMinimax, released: threading.Event
) -> None:
    """A retry, as an SDK would send it, takes the images that were drawn for the stream."""
    upstream.script = when(released, respond(DRAWN))
    # A prompt of its own, so that no retry of another test joins this call.
    fields = FIELDS | {"prompt": f"{PROMPT} {new_request_id()}"}
    sdk.begin(gateway, fields, new_request_id(), leave=True)
    sdk.wait_for_head()
    assert sdk.end().error is None
    time.sleep(0.3)  # nginx closes its connection to the gateway after its caller's
    released.set()
    response = requests.post(
        f"{gateway.url}/v1/images/generations",
        json=fields | {"stream": True},
        headers={"Authorization": f"Bearer {API_KEY}", "x-stainless-retry-count": "1"},
        timeout=30,
    )
    assert response.status_code == 200
    assert response.headers["content-type"].partition(";")[0] == "text/event-stream"
    for drawn in IMAGES:
        assert base64.b64encode(drawn).decode() in response.text
    assert len(upstream.received) == 1
