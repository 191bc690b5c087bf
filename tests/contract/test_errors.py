"""Every error is the JSON envelope with its headers. An internal error's traceback is only in the log."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.datastructures import Headers
from werkzeug.exceptions import (
    HTTPException,
    MethodNotAllowed,
    RequestedRangeNotSatisfiable,
    TooManyRequests,
    Unauthorized,
    default_exceptions,
)

from app import create_app
from app.server.json_logging import RedactingJsonFormatter
from app.services.image_request import ImageResult
from app.settings import Settings
from app.web.body_limits import MAX_BODY_BYTES, MAX_DRAINED_BYTES
from tests.conftest import AUTH, MakeClient
from tests.support.client import client_of
from tests.support.fake_minimax import FakeMinimax
from tests.support.processes import API_KEY
from tests.support.request_encodings import BOUNDARY, multipart
from tests.support.settings import unpaced

DOCUMENT = {"model": "MiniMax-Image-01", "prompt": "An otter with a secret"}
GENERATIONS = "/v1/images/generations"
EDITS = "/v1/images/edits"


class Raising:
    """A MiniMax client that raises `error` for every call."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def generate_images(self, payload: Mapping[str, Any], api_key: str) -> ImageResult:
        raise self._error


ENDPOINTS = (
    "GET /v1/images/tasks, GET /v1/models, POST /v1/images/edits, POST /v1/images/edits/async, "
    "POST /v1/images/generations, POST /v1/images/generations/async"
)


def raising(error: Exception) -> FlaskClient:
    app = create_app(Settings(api_keys=(API_KEY,), minimax_api_key="upstream", **unpaced()), Raising(error))
    client = client_of(app)
    client.environ_base["HTTP_AUTHORIZATION"] = AUTH["Authorization"]
    return client


def envelope(message: str, code: str, param: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "minimax_image_error", "param": param, "code": code}}


def assert_envelope(response: Any, status: int, code: str) -> str:
    """Check the whole envelope and the headers of every error; return the message."""
    assert response.content_type == "application/json"
    message: str = response.json["error"]["message"]
    assert message
    assert (response.status_code, response.json) == (status, envelope(message, code))
    assert response.headers["x-should-retry"] == "false"
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,128}", response.headers["x-request-id"])
    return message


# Errors of Flask and werkzeug


@pytest.mark.parametrize("status", sorted(default_exceptions))
def test_every_exception_of_werkzeug_becomes_the_envelope(status: int) -> None:
    error = default_exceptions[status]()
    code = re.sub(r"[^a-z]+", "_", error.name.lower())
    message = assert_envelope(raising(error).post(GENERATIONS, json=DOCUMENT), status, code)
    if status not in (404, 413):  # the gateway has its own messages for these
        assert message == error.description


def test_an_exception_without_a_description_has_its_name_as_message() -> None:
    class Teapot(HTTPException):
        code = 418
        description = ""

    message = assert_envelope(raising(Teapot()).post(GENERATIONS, json=DOCUMENT), 418, "i_m_a_teapot")
    assert message == "I'm a teapot"


@pytest.mark.parametrize(
    ("error", "headers"),
    [
        (MethodNotAllowed(["PUT"]), {"Allow": "PUT"}),
        (TooManyRequests(retry_after=7), {"Retry-After": "7"}),
        (RequestedRangeNotSatisfiable(length=9), {"Content-Range": "bytes */9"}),
    ],
    ids=["405", "429", "416"],
)
def test_useful_headers_of_werkzeug_are_kept(error: HTTPException, headers: dict[str, str]) -> None:
    response = raising(error).post(GENERATIONS, json=DOCUMENT)
    assert {name: response.headers.get(name) for name in headers} == headers


def test_a_401_of_werkzeug_names_no_authentication_scheme() -> None:
    response = raising(Unauthorized()).post(GENERATIONS, json=DOCUMENT)
    assert "WWW-Authenticate" not in response.headers


@pytest.mark.parametrize(
    "path",
    ["/index.html", "/v1", "/v1/images", "/v1/images/variations", "/v1/chat/completions", "/v1//models", "/é", "/%00"],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_path_is_404(client: FlaskClient, method: str, path: str) -> None:
    message = assert_envelope(client.open(path, method=method), 404, "not_found")
    assert message == (f"There is nothing at this path. The gateway serves {ENDPOINTS}.")


@pytest.mark.parametrize("path", ["/images/generations", "/images/edits", "/models", "/models/image-01"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_path_without_v1_is_404_with_a_hint(client: FlaskClient, method: str, path: str) -> None:
    message = assert_envelope(client.open(path, method=method), 404, "not_found")
    assert message.startswith(
        "There is nothing at this path: a base URL for this gateway ends in /v1. The gateway serves "
    )


def test_usage_without_a_database_is_404_with_a_hint(client: FlaskClient) -> None:
    message = assert_envelope(client.get("/v1/usage"), 404, "not_found")
    assert message.startswith("Usage needs a database, and this gateway has none (DATABASE_URL). The gateway serves ")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        *((method, path, {"POST", "OPTIONS"}) for method in ("GET", "PUT", "DELETE") for path in (GENERATIONS, EDITS)),
        *((method, "/v1/models", {"GET", "HEAD", "OPTIONS"}) for method in ("POST", "PATCH", "BREW")),
        ("POST", "/healthz", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_another_method_is_405_and_names_the_allowed_ones(
    client: FlaskClient, method: str, path: str, allowed: set[str]
) -> None:
    response = client.open(path, method=method)
    message = assert_envelope(response, 405, "method_not_allowed")
    assert message == f"This path takes {min(allowed - {'HEAD', 'OPTIONS'})} only."
    assert set(response.headers["Allow"].split(", ")) == allowed


@pytest.mark.parametrize(
    "content_type", [None, "text/plain", "application/x-www-form-urlencoded", "image/jpeg", "json"]
)
@pytest.mark.parametrize("path", [GENERATIONS, EDITS])
def test_another_content_type_is_415(client: FlaskClient, path: str, content_type: str | None) -> None:
    assert_envelope(client.post(path, data=b"{}", content_type=content_type), 415, "unsupported_media_type")


# Bodies that are too large


class Upload(io.RawIOBase):
    """A body of `size` bytes; `taken` is how many the gateway has read."""

    def __init__(self, size: int) -> None:
        self._left = size
        self.taken = 0
        self.environ = {"wsgi.input": self, "CONTENT_LENGTH": str(size)}

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = min(len(buffer), self._left)
        buffer[:count] = b"x" * count
        self._left -= count
        self.taken += count
        return count


@pytest.mark.parametrize("content_type", ["application/json", "multipart/form-data; boundary=b"])
@pytest.mark.parametrize("size", [MAX_BODY_BYTES + 1, MAX_DRAINED_BYTES, MAX_DRAINED_BYTES * 4])
def test_a_too_large_body_is_413_after_it_was_drained_up_to_a_limit(
    client: FlaskClient, upstream: FakeMinimax, content_type: str, size: int
) -> None:
    """A caller that is still sending when the response comes sees a broken pipe, and sends everything again."""
    upload = Upload(size)
    response = client.post(EDITS, environ_overrides=upload.environ, content_type=content_type)
    message = assert_envelope(response, 413, "request_entity_too_large")
    assert message == "The body is over 16 MiB; a reference image must be smaller than 10 MB."
    assert min(size, MAX_DRAINED_BYTES) <= upload.taken <= MAX_DRAINED_BYTES + 65536
    assert upstream.connections == 0


@pytest.mark.parametrize("chunked", [False, True])
def test_a_413_for_too_many_form_parts_says_so(client: FlaskClient, chunked: bool) -> None:
    """werkzeug raises the same exception for a body that is too large."""
    body = multipart(*((f"x{number}", "1") for number in range(1001)))
    environ = {"wsgi.input_terminated": True, "CONTENT_LENGTH": None} if chunked else {}
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    response = client.post(EDITS, data=body, content_type=kind, environ_overrides=environ)
    message = assert_envelope(response, 413, "request_entity_too_large")
    assert message == "The form has over 1000 parts."


@pytest.mark.parametrize("path", [GENERATIONS, EDITS, "/v1/nowhere"])
def test_other_errors_are_sent_after_the_body_was_drained_too(client: FlaskClient, path: str) -> None:
    upload = Upload(5_000_000)
    headers = {"Authorization": "Bearer wrong"}
    response = client.post(path, environ_overrides=upload.environ, content_type="application/json", headers=headers)
    assert response.status_code in (401, 404)
    assert upload.taken == 5_000_000


# Bodies that are too slow


class Slow(io.RawIOBase):
    """A body that does not arrive in time."""

    def read(self, size: int = -1) -> bytes:
        raise TimeoutError


@pytest.mark.parametrize(
    ("connection", "how_long"),
    [(SimpleNamespace(seconds=2.5), "within 2.5 s"), (SimpleNamespace(), "in time"), (None, "in time")],
    ids=["ours", "another", "none"],
)
def test_the_error_for_a_slow_body_names_the_deadline(client: FlaskClient, connection: object, how_long: str) -> None:
    environ = {"wsgi.input": Slow(), "CONTENT_LENGTH": "9", "gunicorn.socket": connection}
    response = client.post(GENERATIONS, environ_overrides=environ, content_type="application/json")
    message = assert_envelope(response, 408, "request_timeout")
    assert message == f"The request body did not arrive {how_long}. Nothing was sent to MiniMax."


# Internal errors


@pytest.mark.parametrize(
    "error",
    [ValueError("sk-secret prompt"), KeyError("sk-secret"), RecursionError("sk-secret"), MemoryError("sk-secret")],
)
def test_an_internal_error_is_500_and_its_traceback_is_only_in_the_log(error: Exception) -> None:
    output = io.StringIO()
    handler = logging.StreamHandler(output)
    handler.setFormatter(RedactingJsonFormatter("%(levelname)s %(message)s"))
    logging.getLogger("app").addHandler(handler)
    try:
        response = raising(error).post(GENERATIONS, json=DOCUMENT, headers={"x-request-id": "mine-7"})
    finally:
        logging.getLogger("app").removeHandler(handler)

    message = assert_envelope(response, 500, "internal_error")
    assert message == "Internal error. Give this request id to the operator: mine-7."
    assert response.headers["x-request-id"] == "mine-7"
    logged = output.getvalue()
    assert "generate_images" in logged
    assert type(error).__name__ in logged
    assert "mine-7" in logged
    for secret in ("sk-secret", DOCUMENT["prompt"], API_KEY):
        assert secret not in logged
        assert secret not in response.get_data(as_text=True)


# Request ids


@pytest.mark.parametrize("sent", ["a", "0", "req_4.5-A", "x" * 128, "." * 3])
def test_a_valid_request_id_is_kept(client: FlaskClient, sent: str) -> None:
    for path in ("/healthz", "/nowhere", GENERATIONS):
        assert client.get(path, headers={"x-request-id": sent}).headers["x-request-id"] == sent


@pytest.mark.parametrize("sent", ["", " ", "a b", "x" * 129, "é", "a/b", "a:b", "<b>", "a,b", "٣", "a\tb", "😀"])
def test_an_invalid_request_id_is_replaced(client: FlaskClient, sent: str) -> None:
    environ = {"HTTP_X_REQUEST_ID": sent.encode().decode("latin-1")}
    given = client.get("/healthz", environ_overrides=environ).headers["x-request-id"]
    assert re.fullmatch(r"[0-9a-f]{32}", given)


def test_each_request_has_its_own_id(client: FlaskClient) -> None:
    ids = {client.get(path).headers["x-request-id"] for path in ("/healthz", "/healthz", "/nowhere", "/v1/models")}
    assert len(ids) == 4


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/v1/models", "/v1/models/image-01"])
def test_head_has_the_headers_and_no_body(client: FlaskClient, path: str) -> None:
    response = client.head(path, headers={"x-request-id": "head-1"})
    assert (response.status_code, response.data, response.headers["x-request-id"]) == (200, b"", "head-1")


def test_head_of_an_error_has_no_body(client: FlaskClient) -> None:
    response = client.head("/nowhere")
    assert (response.status_code, response.data) == (404, b"")
    assert response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("path", [GENERATIONS, EDITS])
def test_options_names_the_allowed_methods_and_sends_nothing(
    client: FlaskClient, upstream: FakeMinimax, path: str
) -> None:
    response = client.options(path, headers={"x-request-id": "options-1"})
    assert (response.status_code, response.headers["x-request-id"]) == (200, "options-1")
    assert set(response.headers["Allow"].split(", ")) == {"POST", "OPTIONS"}
    assert upstream.connections == 0


# Authentication

WRONG_KEYS: tuple[str | None, ...] = (
    None,
    "",
    "Bearer",
    "Bearer ",
    "Bearer wrong-key-1",
    f"Bearer {API_KEY}x",
    f"Bearer {API_KEY[:-1]}",
    f"Bearer {API_KEY.upper()}",
    f"Bearer {API_KEY} {API_KEY}",
    f"Bearer {API_KEY},other",
    f"Bearer Bearer {API_KEY}",
    f"Basic {API_KEY}",
    f"Token {API_KEY}",
    API_KEY,
    f"Bearer{API_KEY}",
    "Bearer schl\xfcssel",
    "Bearer \xff\xfe",
    "Bearer " + "x" * 5000,
    "Bearer upstream-key-for-tests",
)


@pytest.mark.parametrize("sent", WRONG_KEYS, ids=[repr(sent)[:40] for sent in WRONG_KEYS])
@pytest.mark.parametrize(("method", "path"), [("POST", GENERATIONS), ("POST", EDITS), ("GET", "/v1/models")])
def test_a_missing_and_a_wrong_key_are_401_with_the_same_message(
    client: FlaskClient, upstream: FakeMinimax, method: str, path: str, sent: str | None
) -> None:
    del client.environ_base["HTTP_AUTHORIZATION"]
    headers = Headers() if sent is None else Headers({"Authorization": sent})
    response = client.open(path, method=method, json=DOCUMENT if method == "POST" else None, headers=headers)
    message = assert_envelope(response, 401, "invalid_api_key")
    assert message == "Missing, unknown, revoked or expired API key: send one as 'Authorization: Bearer <key>'."
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert upstream.connections == 0


@pytest.mark.parametrize("sent", [f"Bearer {API_KEY}", f"bearer {API_KEY}", f"BEARER   {API_KEY} "])
def test_the_scheme_ignores_case_and_white_space(client: FlaskClient, sent: str) -> None:
    assert client.get("/v1/models", headers={"Authorization": sent}).status_code == 200


def test_each_of_several_keys_is_accepted(make_client: MakeClient) -> None:
    client = make_client(api_keys=("first", "second", "third"))
    statuses = [
        client.get("/v1/models", headers={"Authorization": f"Bearer {key}"}).status_code
        for key in ("first", "second", "third", "fourth", "first,second")
    ]
    assert statuses == [200, 200, 200, 401, 401]


def test_the_key_is_checked_before_the_body(client: FlaskClient) -> None:
    headers = {"Authorization": "Bearer wrong"}
    for path in (GENERATIONS, EDITS):
        response = client.post(path, data=b"not json", content_type="text/plain", headers=headers)
        assert_envelope(response, 401, "invalid_api_key")


def test_health_needs_no_key(client: FlaskClient) -> None:
    del client.environ_base["HTTP_AUTHORIZATION"]
    assert [client.get(path).status_code for path in ("/healthz", "/readyz")] == [200, 200]
