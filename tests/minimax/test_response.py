"""MiniMax's answers of every odd shape: each ends in the contract's row, none in a 500 of ours or a false 200."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.conftest import MakeClient
from tests.minimax.calls import ENDPOINTS, PROMPT, assert_refused, draw
from tests.support.fake_minimax import ScriptedServer, answer, http_bytes, raw, refusal, success
from tests.support.pictures import JPEG, PNG, WEBP, data_url
from tests.support.processes import UPSTREAM_KEY

GOOD = success(1)


@dataclass(frozen=True)
class Odd:
    """MiniMax answers `body` (JSON, or raw bytes) with `http_status`; we answer `status` and `code`."""

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
    """A good answer with one more member of metadata, as raw JSON."""
    return json.dumps(success(1, more="here")).replace('"here"', text).encode()


HTML = b"<html><body><h1>502 Bad Gateway</h1></body></html>"
ERROR = {"type": "error", "error": {"type": "server_error", "message": "it broke"}}


def each(*values: Any) -> tuple[Any, ...]:
    """Values of many types, which a tuple alone would have no type for."""
    return values


NOT_JSON = (
    Odd("html", HTML, headers={"Content-Type": "text/html"}),
    Odd("nothing", b""),
    Odd("white space", b" \r\n"),
    Odd("text", b"OK"),
    Odd("truncated", json.dumps(GOOD).encode()[:-9]),
    Odd("two documents", json.dumps(GOOD).encode() * 2),
    Odd("an event stream", b"data: " + json.dumps(GOOD).encode()),
    Odd("a picture", JPEG, headers={"Content-Type": "image/jpeg"}),
    Odd("broken UTF-8", b'{"base_resp": {"status_code": 0, "status_msg": "\xff"}}'),
    Odd("NaN", with_metadata("NaN")),
    Odd("infinity", with_metadata("-Infinity")),
    Odd("a number beyond floats", with_metadata("1e999")),
    Odd("a number beyond integers", with_metadata("9" * 5000)),
    Odd("nested to death", b"[" * 1_000_000),
)

WRONG_SHAPES = (
    *(Odd(f"root {value!r}", value) for value in each(None, True, 0, "success", [], [GOOD], {})),
    Odd("no base_resp", without("base_resp")),
    *(
        Odd(f"base_resp {value!r}", GOOD | {"base_resp": value})
        for value in each(None, [], "ok", 0, {}, [{"status_code": 0}])
    ),
    *(
        Odd(f"status_code {value!r}"[:40], GOOD | refusal(value))
        for value in (
            *each(0.0, 0.5, False, True, None, "", " ", " 0 ", "0.0", "success", [], {}, [0], "-", "0x0", "٠", "1_0"),
            *each("9" * 10, "9" * 5000, 10**4000),
        )
    ),
    *(
        Odd(f"data {value!r}", with_data(value))
        for value in each([], ["http://x.example"], "http://x.example", 1, True)
    ),
    *(
        Odd(f"image_urls {value!r}", with_data({"image_urls": value}))
        for value in each(
            "http://x.example", {"url": "http://x.example"}, 1, [1], [["x"]], [{"url": "x"}], ["x", False]
        )
    ),
    *(Odd(f"metadata {value!r}", GOOD | {"metadata": value}) for value in each([], "x", 1, True)),
    Odd("base64 where URLs were asked", with_data({"image_base64": ["/9j/"]})),
    Odd("base64, and failures", with_data({"image_base64": ["/9j/"]}, failed_count="1")),
)

HTTP_STATUSES = (
    *(Odd(f"success with {status}", GOOD, status) for status in (201, 202, 206, 400, 401, 403, 404, 500, 502, 503)),
    *(Odd(f"error with {status}", ERROR, status) for status in (200, 202, 405, 408, 413)),
    *(Odd(f"html with {status}", HTML, status) for status in (400, 402, 404, 500, 502, 503, 504)),
    *(Odd(f"nothing with {status}", b"", status) for status in (204, 205, 304, 400, 500)),
    *(Odd(f"code 0 with {status}", refusal(0), status) for status in (204, 400, 500)),
    *(
        Odd(f"429 with {body!r}"[:30], body, 429, 429, "upstream_rate_limited", {"Retry-After": "1"})
        for body in each(HTML, b"", {"error": None}, GOOD, refusal(0), refusal(None), [])
    ),
    *(
        Odd(f"redirect {status}", b"moved", status, headers={"Location": "/v1/image_generation"})
        for status in (300, 301, 302, 303, 307, 308)
    ),
    *(
        Odd(f"redirect to {location!r}", GOOD, 307, headers={"Location": location})
        for location in ("http://[", "", "//", "\xff\xfe", "http://\x00", "javascript:x")
    ),
    Odd("a code with a redirect", refusal(1026), 302, 403, "1026", {"Location": "/elsewhere"}),
)

NOTHING = (
    *(
        Odd(f"nothing in {data!r}, {count!r} failed", with_data(data, failed_count=count), status=status, code=code)
        for data in each(None, {}, {"image_urls": None}, {"image_urls": []}, {"image_urls": [None, ""]})
        for count, status, code in (
            *((count, 403, "content_withheld") for count in each("1", 1, "9", 1.0)),
            *(
                (count, 502, "nothing_delivered")
                for count in each("0", 0, None, "", "-1", -3, "some", [], {}, "9" * 5000)
            ),
        )
    ),
    Odd("no data, some failed", without("data") | {"metadata": {"failed_count": "2"}}, 200, 403, "content_withheld"),
    Odd("no data, no metadata", refusal(0), code="nothing_delivered"),
    Odd("no data, metadata null", refusal(0) | {"metadata": None}, code="nothing_delivered"),
)


@pytest.mark.parametrize("odd", [*NOT_JSON, *WRONG_SHAPES, *HTTP_STATUSES, *NOTHING], ids=str)
def test_an_odd_answer_ends_in_the_contracts_row(make_client: MakeClient, upstream: ScriptedServer, odd: Odd) -> None:
    upstream.script = answer(odd.body, status=odd.http_status, headers={"Trace-Id": "trace-3"} | odd.headers)
    for calls, endpoint in enumerate(ENDPOINTS, 1):
        response = draw(make_client(), endpoint)
        assert_refused(response, odd.status, odd.code)
        assert response.headers["x-minimax-trace-id"] == "trace-3"
        assert len(upstream.received) == calls


@pytest.mark.parametrize("http_status", [404, 503])
def test_a_caller_is_told_the_http_status(client: FlaskClient, upstream: ScriptedServer, http_status: int) -> None:
    upstream.script = answer(HTML, status=http_status)
    message = assert_refused(draw(client), 502, "upstream_invalid_answer")
    assert message == f"MiniMax's response was not understood (HTTP status {http_status}, not JSON)."


def test_no_depth_of_nesting_is_a_bug(client: FlaskClient, upstream: ScriptedServer) -> None:
    """Reading and writing JSON give up at about the same depth: what was read must also be written."""
    statuses = set()
    for depth in (*range(1, 900, 100), *range(900, 1000)):
        upstream.script = answer(with_metadata("[" * depth + "]" * depth))
        statuses.add(draw(client).status_code)
    assert statuses == {200, 502}


# Good answers, however they are put.

URLS = (
    "http://hailuo.example/image%2Finference_output/x.jpeg?Expires=1&OSSAccessKeyId=LTAI&Signature=a%2Bb%2F%3D",
    "http://pictures.example/a b/水彩.jpeg?q=<&>'\"+%20#fragment",
    " http://pictures.example/\t\u2028\x7f ",
)
BASE64 = ("/9j/4AAQ+/==", *(base64.b64encode(image).decode() for image in (PNG, WEBP)))


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize(
    ("response_format", "key", "images"), [("url", "image_urls", URLS), ("b64_json", "image_base64", BASE64)]
)
def test_pictures_pass_byte_for_byte_with_one_key_each(
    make_client: MakeClient,
    upstream: ScriptedServer,
    endpoint: str,
    response_format: str,
    key: str,
    images: tuple[str, ...],
) -> None:
    upstream.script = answer(with_data({key: list(images)}, success_count="3", failed_count="0"))
    response = draw(make_client(), endpoint, response_format=response_format)
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
def test_what_is_beside_the_pictures_may_be_odd(
    client: FlaskClient, upstream: ScriptedServer, document: dict[str, Any]
) -> None:
    upstream.script = answer(document)
    response = draw(client)
    assert response.status_code == 200
    assert response.json
    assert response.json["data"] == [{"url": GOOD["data"]["image_urls"][0]}]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_withheld_pictures_are_missing_and_counted(
    make_client: MakeClient, upstream: ScriptedServer, endpoint: str
) -> None:
    document = success(2, failed=1)
    upstream.script = answer(document)
    response = draw(make_client(), endpoint, n=3)
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
def test_metadata_passes_as_it_was_sent(
    client: FlaskClient, upstream: ScriptedServer, metadata: dict[str, Any]
) -> None:
    upstream.script = answer(GOOD | {"metadata": metadata})
    response = draw(client)
    assert response.json
    assert response.json["metadata"] == metadata
    assert list(response.json) == ["created", "data", "metadata"]


@pytest.mark.parametrize("document", [without("metadata"), GOOD | {"metadata": None}])
def test_no_metadata_is_invented(client: FlaskClient, upstream: ScriptedServer, document: dict[str, Any]) -> None:
    upstream.script = answer(document)
    response = draw(client)
    assert response.json
    assert list(response.json) == ["created", "data"]


# Trace ids.


@pytest.mark.parametrize("name", ["Trace-Id", "Minimax-Request-Id", "X-Mm-Request-Id", "tRACE-iD"])
@pytest.mark.parametrize("document", [GOOD, refusal(1026), HTML], ids=["drawn", "refused", "html"])
def test_minimax_s_trace_id_is_returned(
    client: FlaskClient, upstream: ScriptedServer, name: str, document: object
) -> None:
    upstream.script = answer(document, headers={name: "06a1:B2_c3.d4-e5"})
    assert draw(client).headers["x-minimax-trace-id"] == "06a1:B2_c3.d4-e5"


def test_the_first_sane_trace_id_wins(client: FlaskClient, upstream: ScriptedServer) -> None:
    headers = {"X-Mm-Request-Id": "third", "Minimax-Request-Id": "second", "Trace-Id": "not sane"}
    upstream.script = answer(GOOD, headers=headers)
    assert draw(client).headers["x-minimax-trace-id"] == "second"


@pytest.mark.parametrize("trace_id", ["", " ", "a b", "a" * 129, "é", "a\tb", "<script>", 'a"b', "a,b", "a\r\n b"])
def test_an_insane_trace_id_is_dropped(client: FlaskClient, upstream: ScriptedServer, trace_id: str) -> None:
    upstream.script = answer(GOOD, headers={"Trace-Id": trace_id})
    response = draw(client)
    assert response.status_code == 200
    assert "x-minimax-trace-id" not in response.headers


# What MiniMax's words may show.

PICTURE_URL = data_url(JPEG)
QUOTED = "*"  # stands for what is quoted

SECRETS = (
    ("the prompt", PROMPT),
    ("its beginning", PROMPT[:20]),
    ("its end", PROMPT[-15:]),
    ("the prompt on two lines", PROMPT.replace(" ", "\n", 2)),
    ("the key", UPSTREAM_KEY),
    ("most of the key", UPSTREAM_KEY[4:-4]),
    ("the picture", PICTURE_URL),
    ("the picture's beginning", PICTURE_URL[:60]),
    ("the picture without its head", PICTURE_URL.partition(",")[2]),
)


@pytest.mark.parametrize("code", [2013, 1026, 4242, 1004])
@pytest.mark.parametrize("secret", [secret for _, secret in SECRETS], ids=[name for name, _ in SECRETS])
def test_a_secret_that_minimax_quotes_is_never_shown(
    make_client: MakeClient, upstream: ScriptedServer, caplog: pytest.LogCaptureFixture, secret: str, code: int
) -> None:
    caplog.set_level("DEBUG")
    upstream.script = answer(refusal(code, f"bad: '{secret}'"))
    response = draw(make_client(), "edits")
    for text in (response.get_data(as_text=True), caplog.text):
        assert secret not in text
        assert " ".join(secret.split()) not in text
        assert secret[:12] not in text


def test_minimax_s_harmless_words_are_shown_cut_and_on_one_line(client: FlaskClient, upstream: ScriptedServer) -> None:
    upstream.script = answer(refusal(2013, "invalid\r\nparams,\x00 \u202ealias <b>水</b> " + "x" * 100_000))
    message = assert_refused(draw(client), 400, "2013")
    opening = "MiniMax rejected the request with code 2013: invalid parameters (invalid params, alias <b>水</b> xxx"
    assert message.startswith(opening)
    assert len(message) < 300


@pytest.mark.parametrize("message", [None, "", " \n", 5, [PROMPT], {"a": UPSTREAM_KEY}, True])
def test_words_that_are_none_are_left_out(client: FlaskClient, upstream: ScriptedServer, message: object) -> None:
    upstream.script = answer(refusal(1026, message))
    assert assert_refused(draw(client), 403, "1026") == (
        "MiniMax rejected the request with code 1026: the prompt was withheld as sensitive."
    )


def test_a_code_without_words(client: FlaskClient, upstream: ScriptedServer) -> None:
    upstream.script = answer({"base_resp": {"status_code": 1026}})
    assert_refused(draw(client), 403, "1026")


def test_an_answer_that_ends_with_its_connection(client: FlaskClient, upstream: ScriptedServer) -> None:
    """Neither Content-Length nor chunks: the end of the connection is the end of the answer."""
    body = json.dumps(GOOD).encode()
    upstream.script = raw(b"HTTP/1.0 200 OK\r\n\r\n" + body, then_close=True)
    assert draw(client).status_code == 200
    upstream.script = raw(b"HTTP/1.0 200 OK\r\n\r\n" + body[:-5], then_close=True)
    assert_refused(draw(client), 502, "upstream_invalid_answer")


def test_each_call_reads_its_own_answer(client: FlaskClient, upstream: ScriptedServer) -> None:
    """What follows a whole answer on a connection is nobody's: it is not read as the next call's answer."""
    body = json.dumps(GOOD).encode()
    upstream.script = raw(http_bytes(body) + http_bytes(json.dumps(success(9)).encode()))
    assert draw(client).status_code == 200
    upstream.script = answer(refusal(1026))
    assert_refused(draw(client), 403, "1026")
