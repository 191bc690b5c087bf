"""Access log: one JSON line per request, with numbers and names only, and no secret at any log level."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from app.accounts.api_key import fingerprint
from tests.integration.raw_http import (
    BUG,
    GENERATIONS,
    MODEL,
    Caller,
    ask,
    generation,
    head,
    json_lines,
    only_line,
    post,
    request_id,
)
from tests.support import processes
from tests.support.fake_minimax import (
    FakeMinimax,
    error_response,
    half,
    raw,
    reset,
    respond,
    start_fake_minimax,
    success,
)
from tests.support.images import JPEG
from tests.support.processes import API_KEY, HOST, Served, free_port, gateway_variables, procfile_command, serve
from tests.support.waiting import wait_until

TRACE = "0123456789abcdef"
EDITS = "/v1/images/edits"
FIELDS = {
    "time",
    "level",
    "logger",
    "message",
    "request_id",
    "caller",
    "endpoint",
    "model",
    "n",
    "delivered",
    "status",
    "code",
    "queued_ms",
    "upstream_key",
    "upstream_ms",
    "total_ms",
    "trace_id",
    "taken",
    "bytes_in",
    "bytes_out",
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FakeMinimax, Served]]:
    with (
        start_fake_minimax() as upstream,
        processes.gateway(tmp_path_factory.mktemp("log"), upstream.url) as gateway,
    ):
        yield upstream, gateway


def line_about(gateway: Served, make: Callable[[str], bytes], method: str = "POST") -> dict[str, Any]:
    """Send what `make` builds from a request id header, and return its log line after checking the line's format."""
    sent = request_id()
    reply = ask(gateway.url, make(f"x-request-id: {sent}"), method)
    line = only_line(gateway, sent)
    assert set(line) == FIELDS
    assert line["status"] == reply.status
    assert line["bytes_out"] == len(reply.body)
    assert (line["level"], line["logger"], line["message"]) == ("INFO", "app.web.access_log", "request")
    assert datetime.fromisoformat(line["time"]).utcoffset() is not None
    assert type(line["total_ms"]) is int
    assert line["upstream_ms"] is None or 0 <= line["upstream_ms"] <= line["total_ms"]
    return line


def known_fields(line: dict[str, Any]) -> dict[str, Any]:
    """The fields of the line that are known beforehand and not null."""
    names = ("endpoint", "caller", "model", "n", "delivered", "code", "trace_id")
    return {name: line[name] for name in names if line[name] is not None}


CALLER = fingerprint(API_KEY)


def test_line_of_a_success(pair: tuple[FakeMinimax, Served]) -> None:
    upstream, gateway = pair
    upstream.script = respond(success(2, failed=1), headers={"Trace-Id": TRACE})
    body = {"model": MODEL, "prompt": "a", "n": 3}
    line = line_about(gateway, lambda header: post(body, header))
    assert line["status"] == 200
    assert known_fields(line) == {
        "endpoint": GENERATIONS,
        "caller": CALLER,
        "model": MODEL,
        "n": 3,
        "delivered": 2,
        "trace_id": TRACE,
    }
    assert line["upstream_ms"] is not None
    assert line["bytes_in"] == len(json.dumps(body))


def test_line_of_a_minimax_error(pair: tuple[FakeMinimax, Served]) -> None:
    upstream, gateway = pair
    upstream.script = respond(error_response(1026), headers={"Trace-Id": TRACE})
    line = line_about(gateway, lambda header: generation("a", header))
    assert line["status"] == 403
    assert known_fields(line) == {
        "endpoint": GENERATIONS,
        "caller": CALLER,
        "model": MODEL,
        "n": 1,
        "delivered": 0,
        "code": "1026",
        "trace_id": TRACE,
    }
    assert line["upstream_ms"] is not None


def test_line_of_a_connection_failure(pair: tuple[FakeMinimax, Served]) -> None:
    upstream, gateway = pair
    upstream.script = reset
    line = line_about(gateway, lambda header: generation("a", header))
    assert (line["status"], line["code"], line["delivered"]) == (502, "upstream_interrupted", 0)
    assert line["upstream_ms"] is not None


@pytest.mark.parametrize(
    ("make", "status", "known"),
    [
        (
            lambda header: post({"model": MODEL, "prompt": "a", "n": 99}, header),
            400,
            {"endpoint": GENERATIONS, "caller": CALLER, "delivered": 0, "code": "invalid_value"},
        ),
        (
            lambda header: post({"model": MODEL}, header, path=EDITS),
            400,
            {"endpoint": EDITS, "caller": CALLER, "delivered": 0, "code": "invalid_value"},
        ),
        (
            lambda header: post({"model": MODEL, "prompt": "a"}, header, key="unknown"),
            401,
            {"endpoint": GENERATIONS, "delivered": 0, "code": "invalid_api_key"},
        ),
        (
            lambda header: post({"model": MODEL, "prompt": "a"}, header, key=None),
            401,
            {"endpoint": GENERATIONS, "delivered": 0, "code": "invalid_api_key"},
        ),
        (
            lambda header: post({}, header, path="/v1/images/variations"),
            404,
            {"delivered": 0, "code": "not_found"},
        ),
        (lambda header: post({}, header, path="/healthz"), 405, {"delivered": 0, "code": "method_not_allowed"}),
    ],
    ids=["field", "edit", "unknown key", "no key", "no such path", "no such method"],
)
def test_line_of_an_invalid_request_has_no_upstream_fields(
    pair: tuple[FakeMinimax, Served], make: Callable[[str], bytes], status: int, known: dict[str, Any]
) -> None:
    line = line_about(pair[1], make)
    assert (line["status"], known_fields(line)) == (status, known)
    assert line["upstream_ms"] is None


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [("/v1/models", "/v1/models"), ("/v1/models/image-01", "/v1/models/<model_id>"), ("/healthz", "/healthz")],
)
def test_endpoint_is_the_route_and_not_the_path(pair: tuple[FakeMinimax, Served], path: str, endpoint: str) -> None:
    line = line_about(pair[1], lambda header: head("GET", f"{path}?a=1", header), "GET")
    assert (line["status"], line["endpoint"], line["bytes_in"]) == (200, endpoint, 0)


# Secrets

OPERATORS_KEY = "minimax-operators-key-5f1c"
KNOWN_KEY = "callers-known-key-77aa"


class Secrets:
    """Unique secrets, each of which occurs in a request or a response."""

    def __init__(self) -> None:
        self.words: dict[str, str] = {"operator's key": OPERATORS_KEY, "known key": KNOWN_KEY}

    def __call__(self, name: str) -> str:
        """Create a secret."""
        return self.words.setdefault(name, f"secret{uuid.uuid4().hex}")

    @property
    def needles(self) -> dict[str, str]:
        """Each secret in plain text, and its base64 at each of the three offsets."""
        found = dict(self.words)
        for name, word in self.words.items():
            for shift in range(3):
                found[f"{name}, base64 {shift}"] = base64.b64encode(b" " * shift + word.encode())[4:-4].decode()
        return found


@contextmanager
def debugged_gateway(folder: Path, upstream_url: str) -> Iterator[Served]:
    """A gateway with a bug, at log level DEBUG."""
    port = free_port()
    chosen = {"AMUX_API_KEYS": KNOWN_KEY, "MINIMAX_API_KEY": OPERATORS_KEY, "LOG_LEVEL": "DEBUG"}
    variables = gateway_variables(port, upstream_url) | chosen
    command = procfile_command("web").replace("wsgi:app", "tests.integration.broken_app:app")
    with serve(command, f"http://{HOST}:{port}", "/readyz", folder / "log", variables) as served:
        yield served


def form(parts: list[tuple[str, bytes]], *lines: str) -> bytes:
    """A multipart request. Each part is the text after `form-data`, and its content."""
    body = b"".join(
        b"--line\r\nContent-Disposition: form-data; %b\r\n\r\n%b\r\n" % (head.encode(), content)
        for head, content in parts
    )
    body += b"--line--\r\n"
    more = ("Content-Type: multipart/form-data; boundary=line", f"Content-Length: {len(body)}")
    return head("POST", EDITS, *more, *lines, key=KNOWN_KEY) + body


def confidential_requests(secret: Secrets) -> Iterator[tuple[int, bytes]]:
    """Requests with a secret in every possible place, and the status of each response."""
    good = {"model": MODEL, "prompt": secret("prompt")}
    reference = {"type": "character", "image_file": f"https://faces.example/{secret('reference URL')}.jpg?a=b"}
    file = JPEG + secret("file").encode() * 10
    data_url = "data:image/jpeg;base64," + base64.b64encode(JPEG + secret("data URL").encode() * 10).decode()

    def ask_for(document: Any, *lines: str, key: str = KNOWN_KEY, path: str = GENERATIONS) -> bytes:
        return post(document, *lines, key=key, path=path)

    yield 200, ask_for(good)
    yield 200, ask_for(good | {"user": secret("user"), secret("field"): secret("value"), "n": 9})
    yield 200, ask_for(good | {"subject_reference": [reference]})
    yield 200, ask_for(good | {"subject_reference": [{"type": "character", "image_file": data_url}]})
    yield 200, ask_for(good, path=f"{GENERATIONS}?api_key={secret('query')}")
    headers = [
        f"{name}: {secret(name)}" for name in ("Cookie", "X-Api-Key", "Referer", "User-Agent", "X-Forwarded-For")
    ]
    yield 200, ask_for(good, *headers)
    yield (
        200,
        form(
            [
                ('name="model"', MODEL.encode()),
                ('name="prompt"', secret("form prompt").encode()),
                (f'name="{secret("form field")}"', secret("form value").encode()),
                (f'name="image"; filename="{secret("file name")}.jpg"', file),
            ]
        ),
    )
    # Faults
    yield 401, ask_for(good, key=secret("unknown key"))
    yield 401, head("GET", "/v1/models", f"Authorization: Basic {secret('basic')}", key=None)
    yield 404, head("GET", f"/{secret('path')}?{secret('path query')}", key=KNOWN_KEY)
    yield 404, head("GET", f"/v1/models/{secret('model id')}", key=KNOWN_KEY)
    yield 400, ask_for(good | {"model": secret("model")})
    yield 400, ask_for(good | {"size": secret("size"), "seed": secret("seed")})
    yield 400, ask_for(good | {"subject_reference": [{"type": secret("type"), "image_file": secret("no URL")}]})
    yield 400, ask_for(b'{"prompt": "' + secret("broken JSON").encode())
    yield 400, ask_for(b'{"prompt": "\xff' + secret("broken UTF-8").encode() + b'"}')
    yield 400, form([('name="prompt"', secret("no model").encode()), ('name="image"; filename="a"', b"GIF8")])
    yield 400, form([(f'name="{secret("form in form")}[a][b', secret("brackets").encode())])
    kind = f"Content-Type: text/{secret('content type')}"
    yield 415, head("POST", GENERATIONS, kind, "Content-Length: 2", key=KNOWN_KEY) + b"{}"
    # No request at all
    yield 400, f"GET /{secret('request line')}\r\n\r\n".encode()
    yield 400, head("GET", "/", f"X-Bad {secret('bad header')}", key=KNOWN_KEY)
    yield 400, head("GET", "/", f"{secret('bad name')} : 1", key=KNOWN_KEY)
    yield 417, head("GET", "/", f"Expect: {secret('expectation')}", key=KNOWN_KEY)
    yield 414, f"GET /{secret('long line') * 200} HTTP/1.1\r\n\r\n".encode()
    # A bug
    yield 500, ask_for(good | {"prompt": f"{BUG} {secret('prompt of a bug')}"})
    yield 500, ask_for({"model": MODEL, "prompt": f"{BUG} a", "subject_reference": [reference]})


def test_no_secret_is_in_the_log_at_any_level(tmp_path: Path) -> None:
    secret = Secrets()
    with_secrets = success()
    with_secrets["data"]["image_urls"] = [
        f"http://images.example/{secret('image')}.jpeg?Signature={secret('signature')}"
    ]
    with_secrets["metadata"][secret("metadata")] = secret("metadata value")
    with start_fake_minimax() as upstream, debugged_gateway(tmp_path, upstream.url) as gateway:
        upstream.script = respond(with_secrets, headers={"Set-Cookie": secret("upstream's cookie")})
        asked = list(confidential_requests(secret))
        for status, data in asked:
            assert ask(gateway.url, data).status == status, data
        assert len(upstream.received) == 7

        # MiniMax sends invalid responses that quote the request.
        echoed = [secret("prompt"), OPERATORS_KEY, f"http://images.example/{secret('image')}.jpeg", secret("echo")]
        echo = json.dumps(echoed).encode()
        broken_head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + echo + b"\r\nX-Echo: " + echo + b"\r\n\r\n{}"
        redirect = {"Location": f"{upstream.url}/{secret('redirect')}"}
        scripts = [
            respond(error_response(1026, " ".join(echoed))),
            respond(error_response(1004, " ".join(echoed))),
            respond(error_response(" ".join(echoed))),
            respond(echo),
            respond(echo, status=500),
            respond(b"", status=302, headers=redirect),
            raw(broken_head, then_close=True),
            raw(echo + b"\r\n\r\n", then_close=True),
            half(echoed),
            respond(
                {"base_resp": {"status_code": 0}, "data": {"image_urls": echoed, secret("key"): 1}, "metadata": echoed}
            ),
            respond(success(), headers={"Trace-Id": f"trace {secret('trace')}"}),
        ]
        for script in scripts:
            upstream.script = script
            ask(gateway.url, post({"model": MODEL, "prompt": secret("prompt")}, key=KNOWN_KEY))
        assert len(upstream.received) == 7 + len(scripts)

        # A caller that disconnects in the middle of its headers, its key or its body.
        for rest in ("", "\r\n", f"\r\nContent-Length: 99\r\nX: {secret('cut off')}\r\n\r\n{{"):
            with Caller(gateway.url) as caller:
                caller.send(f"POST {GENERATIONS} HTTP/1.1\r\nAuthorization: Bearer {KNOWN_KEY}{rest}".encode())
        written = len(asked) + len(scripts)
        wait_until(lambda: len(request_log(gateway)) > written, "a line for each request")
        assert gateway.stop() == 0

    log = gateway.log.read_text()
    found = [name for name, needle in secret.needles.items() if needle in log or quote(needle) in log]
    assert found == []
    # The log is not empty: each source has written to it.
    assert '"DEBUG"' in log
    assert "Malformed request: InvalidHeaderName" in log
    bugs = [line["exc_info"] for line in json_lines(gateway.log) if line["message"] == "Unhandled exception"]
    assert len(bugs) == 2
    assert all("builtins.RuntimeError" in bug and "builtins.ValueError" in bug for bug in bugs)
    assert all("broken_app.py" in bug for bug in bugs)


def request_log(gateway: Served) -> list[dict[str, Any]]:
    lines = [line for line in json_lines(gateway.log) if line["message"] == "request"]
    return [line for line in lines if line["endpoint"] != "/readyz"]


def test_a_rejected_operator_key_is_logged_as_critical(pair: tuple[FakeMinimax, Served]) -> None:
    upstream, gateway = pair
    upstream.script = respond(error_response(1004), headers={"Trace-Id": "loud-trace"})
    line_about(gateway, lambda header: generation("a", header))
    [loud] = [line for line in json_lines(gateway.log) if line["level"] == "CRITICAL"]
    assert "MINIMAX_API_KEY" in loud["message"]
    assert (loud["code"], loud["trace_id"]) == ("1004", "loud-trace")


def test_the_log_goes_to_stdout(tmp_path: Path) -> None:
    """stderr holds gunicorn's own messages."""
    with start_fake_minimax() as upstream, processes.gateway(tmp_path, upstream.url, LOG_LEVEL="ERROR") as gateway:
        assert ask(gateway.url, head("GET", "/nowhere"), "GET").status == 404
        assert gateway.stop() == 0
    assert gateway.log.read_text() == ""
