"""MiniMax responses of odd shapes: each is mapped as in the contract, none to an internal error or a false 200."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.conftest import MakeClient
from tests.minimax.calls import ENDPOINTS, PROMPT, assert_error, generate
from tests.support.fake_minimax import FakeMinimax, error_response, http_bytes, raw, respond, success
from tests.support.images import JPEG, PNG, WEBP, data_url
from tests.support.processes import UPSTREAM_KEY

GOOD = success(1)


@dataclass(frozen=True)
class OddResponse:
    """MiniMax responds with `body` (JSON, or raw bytes) and `http_status`; the caller gets `status` and `code`."""

    name: str
    body: Any
    http_status: int = 200
    status: int = 502
    code: str = "upstream_invalid_answer"
    headers: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in GOOD.items() if name != key}


def with_data(data: Any, **metadata: Any) -> dict[str, Any]:
    return GOOD | {"data": data, "metadata": metadata or {"success_count": "0", "failed_count": "0"}}


def with_metadata(text: str) -> bytes:
    """A success with one more member of metadata, as raw JSON."""
    return json.dumps(success(1, more="here")).replace('"here"', text).encode()


HTML = b"<html><body><h1>502 Bad Gateway</h1></body></html>"
ERROR = {"type": "error", "error": {"type": "server_error", "message": "it broke"}}


def each(*values: Any) -> tuple[Any, ...]:
    """Values of many types, typed as Any for mypy."""
    return values


NOT_JSON = (
    OddResponse("html", HTML, headers={"Content-Type": "text/html"}),
    OddResponse("nothing", b""),
    OddResponse("white space", b" \r\n"),
    OddResponse("text", b"OK"),
    OddResponse("truncated", json.dumps(GOOD).encode()[:-9]),
    OddResponse("two documents", json.dumps(GOOD).encode() * 2),
    OddResponse("an event stream", b"data: " + json.dumps(GOOD).encode()),
    OddResponse("an image", JPEG, headers={"Content-Type": "image/jpeg"}),
    OddResponse("broken UTF-8", b'{"base_resp": {"status_code": 0, "status_msg": "\xff"}}'),
    OddResponse("NaN", with_metadata("NaN")),
    OddResponse("infinity", with_metadata("-Infinity")),
    OddResponse("a number beyond floats", with_metadata("1e999")),
    OddResponse("a number beyond integers", with_metadata("9" * 5000)),
    OddResponse("nested to death", b"[" * 1_000_000),
)

WRONG_SHAPES = (
    *(OddResponse(f"root {value!r}", value) for value in each(None, True, 0, "success", [], [GOOD], {})),
    OddResponse("no base_resp", without("base_resp")),
    *(
        OddResponse(f"base_resp {value!r}", GOOD | {"base_resp": value})
        for value in each(None, [], "ok", 0, {}, [{"status_code": 0}])
    ),
    *(
        OddResponse(f"status_code {value!r}"[:40], GOOD | error_response(value))
        for value in (
            *each(0.0, 0.5, False, True, None, "", " ", " 0 ", "0.0", "success", [], {}, [0], "-", "0x0", "٠", "1_0"),
            *each("9" * 10, "9" * 5000, 10**4000),
        )
    ),
    *(
        OddResponse(f"data {value!r}", with_data(value))
        for value in each([], ["http://x.example"], "http://x.example", 1, True)
    ),
    *(
        OddResponse(f"image_urls {value!r}", with_data({"image_urls": value}))
        for value in each(
            "http://x.example", {"url": "http://x.example"}, 1, [1], [["x"]], [{"url": "x"}], ["x", False]
        )
    ),
    *(OddResponse(f"metadata {value!r}", GOOD | {"metadata": value}) for value in each([], "x", 1, True)),
    OddResponse("base64 where URLs were asked", with_data({"image_base64": ["/9j/"]})),
    OddResponse("base64, and failures", with_data({"image_base64": ["/9j/"]}, failed_count="1")),
)

HTTP_STATUSES = (
    *(
        OddResponse(f"success with {status}", GOOD, status)
        for status in (201, 202, 206, 400, 401, 403, 404, 500, 502, 503)
    ),
    *(OddResponse(f"error with {status}", ERROR, status) for status in (200, 202, 405, 408, 413)),
    *(OddResponse(f"html with {status}", HTML, status) for status in (400, 402, 404, 500, 502, 503, 504)),
    *(OddResponse(f"nothing with {status}", b"", status) for status in (204, 205, 304, 400, 500)),
    *(OddResponse(f"code 0 with {status}", error_response(0), status) for status in (204, 400, 500)),
    *(
        OddResponse(f"429 with {body!r}"[:30], body, 429, 429, "upstream_rate_limited", {"Retry-After": "1"})
        for body in each(HTML, b"", {"error": None}, GOOD, error_response(0), error_response(None), [])
    ),
    *(
        OddResponse(f"redirect {status}", b"moved", status, headers={"Location": "/v1/image_generation"})
        for status in (300, 301, 302, 303, 307, 308)
    ),
    *(
        OddResponse(f"redirect to {location!r}", GOOD, 307, headers={"Location": location})
        for location in ("http://[", "", "//", "\xff\xfe", "http://\x00", "javascript:x")
    ),
    OddResponse("a code with a redirect", error_response(1026), 302, 403, "1026", {"Location": "/elsewhere"}),
)

NOTHING = (
    *(
        OddResponse(
            f"nothing in {data!r}, {count!r} failed", with_data(data, failed_count=count), status=status, code=code
        )
        for data in each(None, {}, {"image_urls": None}, {"image_urls": []}, {"image_urls": [None, ""]})
        for count, status, code in (
            *((count, 403, "content_withheld") for count in each("1", 1, "9", 1.0)),
            *(
                (count, 502, "nothing_delivered")
                for count in each("0", 0, None, "", "-1", -3, "some", [], {}, "9" * 5000)
            ),
        )
    ),
    OddResponse(
        "no data, some failed", without("data") | {"metadata": {"failed_count": "2"}}, 200, 403, "content_withheld"
    ),
    OddResponse("no data, no metadata", error_response(0), code="nothing_delivered"),
    OddResponse("no data, metadata null", error_response(0) | {"metadata": None}, code="nothing_delivered"),
)


@pytest.mark.parametrize("case", [*NOT_JSON, *WRONG_SHAPES, *HTTP_STATUSES, *NOTHING], ids=str)
def test_an_odd_response_is_mapped_as_in_the_contract(
    make_client: MakeClient, upstream: FakeMinimax, case: OddResponse
) -> None:
    upstream.script = respond(case.body, status=case.http_status, headers={"Trace-Id": "trace-3"} | case.headers)
    for calls, endpoint in enumerate(ENDPOINTS, 1):
        response = generate(make_client(), endpoint)
        assert_error(response, case.status, case.code)
        assert response.headers["x-minimax-trace-id"] == "trace-3"
        assert len(upstream.received) == calls


@pytest.mark.parametrize("http_status", [404, 503])
def test_the_message_names_the_http_status(client: FlaskClient, upstream: FakeMinimax, http_status: int) -> None:
    upstream.script = respond(HTML, status=http_status)
    message = assert_error(generate(client), 502, "upstream_invalid_answer")
    assert message == f"MiniMax's response was not understood (HTTP status {http_status}, not JSON)."


def test_deep_nesting_is_never_an_internal_error(client: FlaskClient, upstream: FakeMinimax) -> None:
    """Reading and writing JSON fail at about the same depth; a document that was read must also be written."""
    statuses = set()
    for depth in (*range(1, 900, 100), *range(900, 1000)):
        upstream.script = respond(with_metadata("[" * depth + "]" * depth))
        statuses.add(generate(client).status_code)
    assert statuses == {200, 502}


# Successes.

URLS = (
    "http://hailuo.example/image%2Finference_output/x.jpeg?Expires=1&OSSAccessKeyId=LTAI&Signature=a%2Bb%2F%3D",
    "http://images.example/a b/水彩.jpeg?q=<&>'\"+%20#fragment",
    " http://images.example/\t\u2028\x7f ",
)
BASE64 = ("/9j/4AAQ+/==", *(base64.b64encode(image).decode() for image in (PNG, WEBP)))


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize(
    ("response_format", "key", "images"), [("url", "image_urls", URLS), ("b64_json", "image_base64", BASE64)]
)
def test_images_are_passed_on_byte_for_byte_with_one_key_each(
    make_client: MakeClient,
    upstream: FakeMinimax,
    endpoint: str,
    response_format: str,
    key: str,
    images: tuple[str, ...],
) -> None:
    upstream.script = respond(with_data({key: list(images)}, success_count="3", failed_count="0"))
    response = generate(make_client(), endpoint, response_format=response_format)
    assert response.status_code == 200
    assert response.json
    assert response.json["data"] == [{response_format: image} for image in images]


@pytest.mark.parametrize(
    "document",
    [
        success(1, response_format="url") | {"base_resp": {"status_code": "0"}},
        GOOD | {"base_resp": {"status_code": 0, "status_msg": None, "more": 1}},
        with_data({"image_urls": GOOD["data"]["image_urls"], "image_base64": None}, failed_count="0"),
        with_data({"image_urls": [None, *GOOD["data"]["image_urls"], ""], "image_base64": []}, failed_count="2"),
        with_data({"image_urls": GOOD["data"]["image_urls"], "image_base64": ["/9j/"]}, failed_count=0),
        GOOD | {"more": [1], "id": None},
    ],
)
def test_odd_members_beside_the_images_are_ignored(
    client: FlaskClient, upstream: FakeMinimax, document: dict[str, Any]
) -> None:
    upstream.script = respond(document)
    response = generate(client)
    assert response.status_code == 200
    assert response.json
    assert response.json["data"] == [{"url": GOOD["data"]["image_urls"][0]}]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_withheld_images_are_left_out_and_counted_in_metadata(
    make_client: MakeClient, upstream: FakeMinimax, endpoint: str
) -> None:
    document = success(2, failed=1)
    upstream.script = respond(document)
    response = generate(make_client(), endpoint, n=3)
    assert response.status_code == 200
    assert response.json
    assert response.json["data"] == [{"url": url} for url in document["data"]["image_urls"]]
    assert response.json["metadata"] == {"failed_count": "1", "success_count": "2"}


@pytest.mark.parametrize(
    "metadata",
    [
        {"success_count": "1", "failed_count": "0"},
        {"success_count": 1, "failed_count": 0},
        {"failed_count": "many", "z": None, "a": [1.5, {"水": "\ud83e"}]},
        {},
    ],
)
def test_metadata_is_passed_on_unchanged(client: FlaskClient, upstream: FakeMinimax, metadata: dict[str, Any]) -> None:
    upstream.script = respond(GOOD | {"metadata": metadata})
    response = generate(client)
    assert response.json
    assert response.json["metadata"] == metadata
    assert list(response.json) == ["created", "data", "metadata"]


@pytest.mark.parametrize("document", [without("metadata"), GOOD | {"metadata": None}])
def test_missing_metadata_stays_absent(client: FlaskClient, upstream: FakeMinimax, document: dict[str, Any]) -> None:
    upstream.script = respond(document)
    response = generate(client)
    assert response.json
    assert list(response.json) == ["created", "data"]


# Trace ids.


@pytest.mark.parametrize("name", ["Trace-Id", "Minimax-Request-Id", "X-Mm-Request-Id", "tRACE-iD"])
@pytest.mark.parametrize("document", [GOOD, error_response(1026), HTML], ids=["success", "error", "html"])
def test_minimax_trace_id_is_returned(client: FlaskClient, upstream: FakeMinimax, name: str, document: object) -> None:
    upstream.script = respond(document, headers={name: "06a1:B2_c3.d4-e5"})
    assert generate(client).headers["x-minimax-trace-id"] == "06a1:B2_c3.d4-e5"


def test_the_first_well_formed_trace_id_is_used(client: FlaskClient, upstream: FakeMinimax) -> None:
    headers = {"X-Mm-Request-Id": "third", "Minimax-Request-Id": "second", "Trace-Id": "not sane"}
    upstream.script = respond(GOOD, headers=headers)
    assert generate(client).headers["x-minimax-trace-id"] == "second"


@pytest.mark.parametrize("trace_id", ["", " ", "a b", "a" * 129, "é", "a\tb", "<script>", 'a"b', "a,b", "a\r\n b"])
def test_a_malformed_trace_id_is_dropped(client: FlaskClient, upstream: FakeMinimax, trace_id: str) -> None:
    upstream.script = respond(GOOD, headers={"Trace-Id": trace_id})
    response = generate(client)
    assert response.status_code == 200
    assert "x-minimax-trace-id" not in response.headers


# Redaction of MiniMax's messages.

IMAGE_DATA_URL = data_url(JPEG)
SECRETS = (
    ("the prompt", PROMPT),
    ("the start of the prompt", PROMPT[:20]),
    ("the end of the prompt", PROMPT[-15:]),
    ("the prompt on two lines", PROMPT.replace(" ", "\n", 2)),
    ("the key", UPSTREAM_KEY),
    ("most of the key", UPSTREAM_KEY[4:-4]),
    ("the image", IMAGE_DATA_URL),
    ("the start of the image", IMAGE_DATA_URL[:60]),
    ("the image without its prefix", IMAGE_DATA_URL.partition(",")[2]),
)


@pytest.mark.parametrize("code", [2013, 1026, 4242, 1004])
@pytest.mark.parametrize("secret", [secret for _, secret in SECRETS], ids=[name for name, _ in SECRETS])
def test_a_message_that_quotes_a_secret_is_redacted(
    make_client: MakeClient, upstream: FakeMinimax, caplog: pytest.LogCaptureFixture, secret: str, code: int
) -> None:
    caplog.set_level("DEBUG")
    upstream.script = respond(error_response(code, f"bad: '{secret}'"))
    response = generate(make_client(), "edits")
    for text in (response.get_data(as_text=True), caplog.text):
        assert secret not in text
        assert " ".join(secret.split()) not in text
        assert secret[:12] not in text


def test_a_harmless_message_is_quoted_truncated_on_one_line(client: FlaskClient, upstream: FakeMinimax) -> None:
    upstream.script = respond(error_response(2013, "invalid\r\nparams,\x00 \u202ealias <b>水</b> " + "x" * 100_000))
    message = assert_error(generate(client), 400, "2013")
    summary = "MiniMax rejected the request with code 2013: invalid parameters (invalid params, alias <b>水</b> xxx"
    assert message.startswith(summary)
    assert len(message) < 300


@pytest.mark.parametrize("message", [None, "", " \n", 5, [PROMPT], {"a": UPSTREAM_KEY}, True])
def test_a_status_message_that_is_empty_or_not_text_is_left_out(
    client: FlaskClient, upstream: FakeMinimax, message: object
) -> None:
    upstream.script = respond(error_response(1026, message))
    assert assert_error(generate(client), 403, "1026") == (
        "MiniMax rejected the request with code 1026: the prompt was withheld as sensitive."
    )


def test_a_code_without_status_message(client: FlaskClient, upstream: FakeMinimax) -> None:
    upstream.script = respond({"base_resp": {"status_code": 1026}})
    assert_error(generate(client), 403, "1026")


def test_a_response_without_length_ends_with_its_connection(client: FlaskClient, upstream: FakeMinimax) -> None:
    """Without Content-Length and chunks, the end of the connection is the end of the response."""
    body = json.dumps(GOOD).encode()
    upstream.script = raw(b"HTTP/1.0 200 OK\r\n\r\n" + body, then_close=True)
    assert generate(client).status_code == 200
    upstream.script = raw(b"HTTP/1.0 200 OK\r\n\r\n" + body[:-5], then_close=True)
    assert_error(generate(client), 502, "upstream_invalid_answer")


def test_bytes_after_a_response_are_not_read_by_the_next_call(client: FlaskClient, upstream: FakeMinimax) -> None:
    """Otherwise the next caller on the connection would get another caller's images."""
    body = json.dumps(GOOD).encode()
    upstream.script = raw(http_bytes(body) + http_bytes(json.dumps(success(9)).encode()))
    assert generate(client).status_code == 200
    upstream.script = respond(error_response(1026))
    assert_error(generate(client), 403, "1026")
