"""Malformed bodies: each is rejected with the error envelope, and nothing is sent to MiniMax."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.client import HTTPResponse

import pytest
from flask.testing import FlaskClient
from werkzeug.serving import make_server
from werkzeug.test import TestResponse

from tests.conftest import AUTH, MakeClient
from tests.support.fake_minimax import FakeMinimax
from tests.support.images import JPEG
from tests.support.request_encodings import (
    BASE,
    BOUNDARY,
    EDITS,
    GENERATIONS,
    PLAIN,
    REFERENCE,
    Part,
    a_file,
    envelope,
    multipart,
    post_parts,
)

JSON = "application/json"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
GOOD = json.dumps(BASE).encode()
GOOD_FORM = multipart(*BASE.items(), a_file())
MEMBERS = GOOD[1:-1]


def check(got: TestResponse, upstream: FakeMinimax, status: int, code: str, param: str | None = None) -> str:
    """Check the error envelope and that nothing was sent to MiniMax; return the message."""
    message: str = got.get_json()["error"]["message"]
    assert (got.status_code, got.get_json()) == (status, envelope(message, param, code))
    assert message
    assert got.headers["x-request-id"]
    assert got.headers["x-should-retry"] == "false"
    assert upstream.received == []
    return message


BAD_JSON: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "Expecting value"),
    "white space": (b" \n", "Expecting value"),
    "no JSON": (b"model=image-01", "Expecting value"),
    "half": (GOOD[:-5], "not valid JSON"),
    "two": (GOOD + GOOD, "Extra data"),
    "a comma too many": (b"{" + MEMBERS + b",}", "not valid JSON"),
    "single quotes": (b"{'model': 1}", "not valid JSON"),
    "a comment": (b"{} // x", "Extra data"),
    "a nul byte": (b"\0" + GOOD, "Expecting value"),
    "a nul byte in a text": (b'{"prompt": "\0"}', "Invalid control character"),
    "null": (b"null", "must be a JSON object"),
    "true": (b"true", "must be a JSON object"),
    "a number": (b"1", "must be a JSON object"),
    "a string": (b'"model"', "must be a JSON object"),
    "an array": (b"[" + GOOD + b"]", "must be a JSON object"),
    "broken UTF-8": (b'{"prompt": "\xff"}', "not valid UTF-8"),
    "half a character": (b'{"prompt": "\xf0\x9f\xa6"}', "not valid UTF-8"),
    "a surrogate in UTF-8": (b'{"prompt": "\xed\xa0\x80"}', "not valid UTF-8"),
    "an overlong NUL": (b'{"prompt": "\xc0\x80"}', "not valid UTF-8"),
    "UTF-16": (GOOD.decode().encode("utf-16"), "not valid UTF-8"),
    "two byte order marks": (b"\xef\xbb\xbf" * 2 + GOOD, "BOM"),
    "a byte order mark alone": (b"\xef\xbb\xbf", "Expecting value"),
    "a byte order mark later on": (b"{\xef\xbb\xbf" + MEMBERS + b"}", "not valid JSON"),
    "half a byte order mark": (b"\xef\xbb" + GOOD, "not valid UTF-8"),
    "gzip's first bytes": (b"\x1f\x8b\x08\x00", "not valid UTF-8"),
    "NaN": (b"{" + MEMBERS + b', "n": NaN}', "not finite"),
    "Infinity": (b"{" + MEMBERS + b', "style_weight": Infinity}', "not finite"),
    "-Infinity, in a field that is ignored": (b"{" + MEMBERS + b', "x": [-Infinity]}', "not finite"),
    "an integer of 5,000 digits": (b"{" + MEMBERS + b', "n": ' + b"9" * 5000 + b"}", "too long"),
    "unicode digits": (b"{" + MEMBERS + ', "n": ２}'.encode(), "Expecting value"),
    "a leading zero": (b"{" + MEMBERS + b', "n": 02}', "not valid JSON"),
    "10,000 arrays": (b"{" + MEMBERS + b', "x": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", "nested too deeply"),
    "10,000 objects": (b'{"extra_body":' * 10_000 + b"1" + b"}" * 10_000, "nested too deeply"),
    "1,000,000 brackets": (b"[" * 1_000_000, "nested too deeply"),
}


@pytest.mark.parametrize("path", [GENERATIONS, EDITS])
@pytest.mark.parametrize(("body", "words"), BAD_JSON.values(), ids=BAD_JSON)
def test_a_body_that_is_not_a_json_object_is_rejected(
    client: FlaskClient, upstream: FakeMinimax, path: str, body: bytes, words: str
) -> None:
    assert words in check(client.post(path, data=body, content_type=JSON), upstream, 400, "invalid_json")


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b'{"model": "image-01", "prompt": "a", "prompt": "b"}', "prompt"),
        (b'{"model": "image-01", "prompt": "a", "prompt": "a"}', "prompt"),
        (b'{"model": "image-01", "prompt": "a", "n": 1, "\\u006e": 1}', "n"),
        (b'{"model": "image-01", "prompt": "a", "extra_body": {"seed": 1, "seed": 2}}', "seed"),
        (b'{"model": "image-01", "prompt": "a", "x": [{"y": 1, "y": 2}]}', "y"),
    ],
)
def test_a_key_given_twice_is_rejected(client: FlaskClient, upstream: FakeMinimax, body: bytes, name: str) -> None:
    got = client.post(GENERATIONS, data=body, content_type=JSON)
    assert check(got, upstream, 400, "invalid_json", name) == f"The body gives {name} twice in one object."


@pytest.mark.parametrize("field", ["prompt", "style", "images", "subject_reference", "extra_body", "watermark", "x"])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"extra_body":', "}"), ('{"style":', "}")])
def test_no_depth_of_nesting_causes_an_internal_error(
    client: FlaskClient, upstream: FakeMinimax, field: str, opening: str, closing: str
) -> None:
    """The parser's limit is near 1,000. Later steps must handle everything below it."""
    seen = set()
    for depth in (1, 2, 100, *range(900, 1000, 9), *range(960, 1000)):
        deep = opening * depth + "1" + closing * depth
        body = f'{{"model": "image-01", "prompt": "p", "aigc_watermark": {deep}, "{field}": {deep}}}'
        if field != "watermark":
            body = body.replace("aigc_watermark", "y")
        got = client.post(GENERATIONS, data=body, content_type=JSON)
        assert got.status_code in (200, 400)
        seen.add(got.status_code)
        if got.status_code == 200:
            assert upstream.received.pop().json == PLAIN | {"prompt": "p"}
    assert 400 in seen


def test_a_lone_surrogate_is_rejected_as_text(client: FlaskClient, upstream: FakeMinimax) -> None:
    for name in ("model", "prompt", "size", "aspect_ratio", "response_format", "style_type"):
        body = json.dumps(BASE | {name: "\ud83e"})
        check(client.post(GENERATIONS, data=body, content_type=JSON), upstream, 400, "invalid_value", name)
    got = client.post(GENERATIONS, data=json.dumps(BASE | {"a\ud83e": 1}), content_type=JSON)
    assert (got.status_code, got.headers["x-amux-ignored"]) == (200, "a%3F")


def test_unknown_names_neither_inject_headers_nor_exceed_their_size(client: FlaskClient) -> None:
    names = [
        "a\r\nSet-Cookie: b=c",
        "水彩" * 1000,
        "a, b",
        "\0",
        "",
        *(f"x{i}" for i in range(10_000)),
        *(f"a{i}水彩" * 99 for i in range(40)),
    ]
    got = client.post(GENERATIONS, json=BASE | dict.fromkeys(names, 1))
    assert got.status_code == 200
    assert "Set-Cookie" not in got.headers
    ignored = got.headers["x-amux-ignored"]
    assert "a%0D%0ASet-Cookie%3A%20b%3Dc" in ignored
    assert (ignored.isascii(), len(ignored) < 4096) == (True, True)


CONTENT_TYPES = ("", "text/plain", "application/x-www-form-urlencoded", "application/xml", "image/png", "json", "\xff")


@pytest.mark.parametrize("content_type", CONTENT_TYPES)
@pytest.mark.parametrize("path", [GENERATIONS, EDITS])
def test_another_content_type_is_415(client: FlaskClient, upstream: FakeMinimax, path: str, content_type: str) -> None:
    got = client.post(path, data=GOOD, content_type=content_type)
    assert "application/json" in check(got, upstream, 415, "unsupported_media_type")


def test_no_content_type_is_415(client: FlaskClient, upstream: FakeMinimax) -> None:
    got = client.post(GENERATIONS, data=GOOD)
    assert "Content-Type" not in got.request.headers
    check(got, upstream, 415, "unsupported_media_type")


def test_generations_rejects_a_form(client: FlaskClient, upstream: FakeMinimax) -> None:
    got = client.post(GENERATIONS, data=GOOD_FORM, content_type=FORM)
    assert "on /v1/images/edits only" in check(got, upstream, 415, "unsupported_media_type")


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/x+json"])
def test_every_json_content_type_is_accepted(client: FlaskClient, upstream: FakeMinimax, content_type: str) -> None:
    assert client.post(GENERATIONS, data=GOOD, content_type=content_type).status_code == 200
    assert [request.json for request in upstream.received] == [PLAIN]


@pytest.mark.parametrize("path", [GENERATIONS, EDITS])
@pytest.mark.parametrize("more", [b"", b" \r\n"])
def test_a_byte_order_mark_before_json_is_dropped(
    client: FlaskClient, upstream: FakeMinimax, path: str, more: bytes
) -> None:
    body = json.dumps(BASE | {"subject_reference": REFERENCE}).encode()
    assert client.post(path, data=b"\xef\xbb\xbf" + more + body, content_type=JSON).status_code == 200
    assert [request.json for request in upstream.received] == [PLAIN | {"subject_reference": REFERENCE}]


CODINGS = ["gzip", "br", "deflate", "zstd", "GZIP", "x-gzip", "identity, gzip", "gzip, identity", "aws-chunked", "\xff"]


@pytest.mark.parametrize("coding", [*CODINGS, "a" * 5000])
@pytest.mark.parametrize(
    ("path", "content_type", "body"),
    [(GENERATIONS, JSON, GOOD), (EDITS, JSON, GOOD), (EDITS, FORM, GOOD_FORM), (GENERATIONS, JSON, b"\x1f\x8b\x08\0")],
    ids=["json generations", "json edits", "form", "gzip"],
)
def test_a_content_encoding_is_415_and_named(
    client: FlaskClient, upstream: FakeMinimax, path: str, content_type: str, body: bytes, coding: str
) -> None:
    """The header decides, whether the body is compressed or not."""
    got = client.post(path, data=body, content_type=content_type, headers={"Content-Encoding": coding})
    assert f"Content-Encoding {coding[:64]} is not" in check(got, upstream, 415, "unsupported_media_type")
    assert got.headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("coding", ["identity", "Identity", " identity ", "identity, identity", ""])
@pytest.mark.parametrize(
    ("path", "content_type", "body"), [(GENERATIONS, JSON, GOOD), (EDITS, FORM, GOOD_FORM)], ids=["json", "form"]
)
def test_the_identity_encoding_is_accepted(
    client: FlaskClient, upstream: FakeMinimax, path: str, content_type: str, body: bytes, coding: str
) -> None:
    got = client.post(path, data=body, content_type=content_type, headers={"Content-Encoding": coding})
    assert (got.status_code, len(upstream.received)) == (200, 1)


def part(head: bytes, content: bytes = b"x") -> bytes:
    return b"--%s\r\n%s\r\n\r\n%s\r\n" % (BOUNDARY.encode(), head, content)


END = f"--{BOUNDARY}--\r\n".encode()
DISPOSITION = b"Content-Disposition: form-data"
BAD_FORMS: dict[str, tuple[bytes, str]] = {
    "no multipart": (b"hello", "broken"),
    "JSON": (GOOD, "broken"),
    "no end": (GOOD_FORM[: -len(END)], "broken"),
    "cut in a part": (GOOD_FORM[:-200], "broken"),
    "cut in a head": (part(DISPOSITION + b'; name="model"')[:60], "broken"),
    "another boundary": (GOOD_FORM.replace(BOUNDARY.encode(), b"other"), "broken"),
    "a part without a head": (f"--{BOUNDARY}\r\n\r\nx\r\n".encode() + END, "broken"),
    "a part without Content-Disposition": (part(b"X: y") + END, "broken"),
    "a head that is not UTF-8": (part(DISPOSITION + b'; name="\xff"') + END, "broken"),
    "a part without a name": (part(DISPOSITION) + GOOD_FORM, "no name"),
    "a file without a name": (part(DISPOSITION + b'; filename="a.jpg"') + GOOD_FORM, "no name"),
    "an empty name": (part(DISPOSITION + b'; name=""') + GOOD_FORM, "no name"),
}


@pytest.mark.parametrize(("body", "words"), BAD_FORMS.values(), ids=BAD_FORMS)
def test_a_broken_form_is_rejected(client: FlaskClient, upstream: FakeMinimax, body: bytes, words: str) -> None:
    assert words in check(client.post(EDITS, data=body, content_type=FORM), upstream, 400, "invalid_form")


@pytest.mark.parametrize("encoding", ["base64", "BASE64", "quoted-printable", "x-uuencode", "7-bit", "binary; x"])
@pytest.mark.parametrize("name", ["image", "prompt", "x" * 100])
@pytest.mark.parametrize("filename", [b"", b'; filename="a.jpg"'])
def test_a_transfer_encoding_of_a_part_is_rejected_and_named(
    client: FlaskClient, upstream: FakeMinimax, name: str, encoding: str, filename: bytes
) -> None:
    head = DISPOSITION + f'; name="{name}"'.encode() + filename
    head += b"\r\ncontent-transfer-ENCODING:" + encoding.encode()
    got = client.post(EDITS, data=part(head) + GOOD_FORM, content_type=FORM)
    message = check(got, upstream, 400, "invalid_value", name[:64])
    assert message.startswith(f"{name[:64]} has Content-Transfer-Encoding {encoding}")


@pytest.mark.parametrize("encoding", ["7bit", "8bit", "binary", "Binary", "8BIT", " binary ", ""])
def test_an_identity_transfer_encoding_is_accepted(client: FlaskClient, upstream: FakeMinimax, encoding: str) -> None:
    line = b"\r\nContent-Transfer-Encoding: " + encoding.encode()
    image = part(DISPOSITION + b'; name="image"; filename="a.jpg"\r\nContent-Type: image/jpeg' + line, JPEG)
    body = b"".join(part(DISPOSITION + f'; name="{n}"'.encode() + line, v.encode()) for n, v in BASE.items())
    assert client.post(EDITS, data=body + image + END, content_type=FORM).status_code == 200
    assert [request.json for request in upstream.received] == [PLAIN | {"subject_reference": REFERENCE}]


@pytest.mark.parametrize("boundary", ["", "; boundary=", "; boundary=\xff", "; boundary=" + "a" * 10_000, "; boundary"])
def test_a_form_without_its_boundary_is_rejected(client: FlaskClient, upstream: FakeMinimax, boundary: str) -> None:
    got = client.post(EDITS, data=GOOD_FORM, content_type=f"multipart/form-data{boundary}")
    check(got, upstream, 400, "invalid_form")


def test_an_empty_form_is_an_error_naming_the_first_missing_field(client: FlaskClient, upstream: FakeMinimax) -> None:
    for body in (b"", END):
        got = client.post(EDITS, data=body, content_type=FORM)
        assert check(got, upstream, 400, "invalid_value", "model") == "model is required."


TWICE = "The same field is given twice."
BAD_NAMES: list[tuple[list[Part], str, str]] = [
    ([("prompt", "p")], "prompt", TWICE),
    ([("n", "2"), ("n", "2")], "n", TWICE),
    ([("style[style_type]", "水彩"), ("style[style_type]", "水彩")], "style", TWICE),
    ([("style", "vivid"), ("style[style_type]", "水彩")], "style", TWICE),
    ([("style[style_type]", "水彩"), ("style", "vivid")], "style", TWICE),
    ([("style", '{"style_weight": 1}'), ("style[style_type]", "水彩")], "style", TWICE),
    ([("n", "2"), ("n[a]", "2")], "n", TWICE),
    ([("x[a][b][c][d][e]", "1")], "x", "A field's name is nested too deeply."),
    ([("x" + "[]" * 5000, "1")], "x", "A field's name is nested too deeply."),
]


@pytest.mark.parametrize(("parts", "param", "message"), BAD_NAMES, ids=lambda value: repr(value)[:50])
def test_an_ambiguous_form_is_rejected(
    client: FlaskClient, upstream: FakeMinimax, parts: list[Part], param: str, message: str
) -> None:
    got = post_parts(client, *BASE.items(), *parts, a_file())
    assert check(got, upstream, 400, "invalid_value", param) == message


@pytest.mark.parametrize("text", [b"\xff", b"a\xf0\x9f\xa6", b"\xed\xa0\x80", b"\xc0\x80", "\ufffd".encode()])
def test_a_form_field_that_is_not_utf_8_is_rejected(client: FlaskClient, upstream: FakeMinimax, text: bytes) -> None:
    """U+FFFD itself is rejected too: the parser writes it for invalid bytes."""
    got = post_parts(client, ("model", "image-01"), ("prompt", text), a_file())
    message = check(got, upstream, 400, "invalid_value", "prompt")
    assert message == "prompt is not valid UTF-8, or holds U+FFFD."


def test_a_form_of_10_000_fields_is_413(client: FlaskClient, upstream: FakeMinimax) -> None:
    for name in ("x{}", "x", "x[]", "subject_reference[][{}]"):
        got = post_parts(client, *((name.format(i), "1") for i in range(10_000)))
        check(got, upstream, 413, "request_entity_too_large")


def test_a_form_of_900_fields_is_accepted(client: FlaskClient, upstream: FakeMinimax) -> None:
    got = post_parts(client, *BASE.items(), a_file(), *((f"x{i}", "1") for i in range(900)))
    assert (got.status_code, len(upstream.received)) == (200, 1)
    assert len(got.headers["x-amux-ignored"]) < 4096


def test_names_are_never_used_as_paths(client: FlaskClient, upstream: FakeMinimax) -> None:
    parts: list[Part] = [("../../etc/passwd", "x"), ("a/b", "x"), ("__proto__[x]", "x"), ("a\0b", "x")]
    got = post_parts(client, *BASE.items(), a_file(name="../../../etc/passwd\0.jpg"), *parts)
    assert (got.status_code, len(upstream.received)) == (200, 1)
    assert got.headers["x-amux-ignored"] == "..%2F..%2Fetc%2Fpasswd, __proto__, a%00b, a%2Fb"


@pytest.mark.parametrize(
    ("path", "content_type", "body"), [(GENERATIONS, JSON, GOOD), (EDITS, FORM, GOOD_FORM)], ids=["json", "form"]
)
def test_a_body_shorter_than_its_length_is_rejected(
    client: FlaskClient, upstream: FakeMinimax, path: str, content_type: str, body: bytes
) -> None:
    """A body that is cut short is rejected even if it is complete JSON or a complete form."""
    overrides = {"CONTENT_LENGTH": str(len(body) + 1)}
    got = client.post(path, data=body, content_type=content_type, environ_overrides=overrides)
    assert check(got, upstream, 400, "bad_request") == "The request body ended before its Content-Length."


@pytest.mark.parametrize(("path", "content_type"), [(GENERATIONS, JSON), (EDITS, JSON), (EDITS, FORM)])
def test_a_body_over_the_limit_is_413(client: FlaskClient, upstream: FakeMinimax, path: str, content_type: str) -> None:
    got = client.post(path, data=bytes(16 * 1024 * 1024 + 1), content_type=content_type)
    check(got, upstream, 413, "request_entity_too_large")


@pytest.fixture
def address(make_client: MakeClient) -> Iterator[tuple[str, int]]:
    """The gateway on a real socket."""
    server = make_server("127.0.0.1", 0, make_client().application, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield ("127.0.0.1", server.server_port)
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("path", "content_type", "body"), [(GENERATIONS, JSON, GOOD), (EDITS, FORM, GOOD_FORM)], ids=["json", "form"]
)
def test_a_caller_that_stops_sending_gets_an_error(
    address: tuple[str, int], upstream: FakeMinimax, path: str, content_type: str, body: bytes
) -> None:
    head = [f"POST {path} HTTP/1.1", "Host: gateway", f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
    head += [f"{name}: {value}" for name, value in AUTH.items()]
    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall("\r\n".join([*head, "", ""]).encode() + body[: len(body) // 2])
        connection.shutdown(socket.SHUT_WR)
        response = HTTPResponse(connection)
        response.begin()
        document = json.loads(response.read())
    assert (response.status, document) == (
        400,
        envelope("The request body ended before its Content-Length.", None, "bad_request"),
    )
    assert upstream.received == []
