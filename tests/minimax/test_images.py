"""What counts as an image: base64 of a JPEG, PNG or WebP, or an http(s) URL with a host. Everything else is 502."""

from __future__ import annotations

import base64
import binascii
import json
import os
from typing import Any

import pytest
from flask.testing import FlaskClient

from app.errors import SpoolFull
from app.minimax import client as minimax_client
from app.minimax.client import MinimaxClient
from app.minimax.errors import MinimaxError
from app.spooling.spool import Spool
from tests.conftest import MakeClient
from tests.minimax.calls import ENDPOINTS, envelope, generate, retry_headers
from tests.support.fake_minimax import FakeMinimax, respond
from tests.support.images import GIF, JPEG, PNG, WEBP

URL = "https://images.example/1.jpeg"
BMP = b"BM" + bytes(60)
WAVE = b"RIFF\x24\x00\x00\x00WAVEfmt "
NOT_BASE64 = "an image is not base64"
NOT_AN_IMAGE = "an image is not JPEG, PNG or WebP"
NOT_A_URL = "an image URL is not http or https with a host"
LARGE = JPEG.ljust(300_000, b"\xfb")  # `+` and `/` in base64, and more than one chunk of the spool


def encoded(data: bytes, *, padding: int = 0) -> str:
    """Base64 of `data`, made longer until it ends in `padding` equals signs."""
    while -len(data) % 3 != padding:
        data += b"\0"
    return base64.b64encode(data).decode()


def wrapped(text: str, line_break: str, width: int = 76) -> str:
    return line_break.join(text[at : at + width] for at in range(0, len(text), width)) + line_break


def delivery(**data: list[Any]) -> dict[str, Any]:
    return {"data": data, "metadata": {"failed_count": "0"}, "base_resp": {"status_code": 0, "status_msg": "success"}}


def assert_not_delivered(client: FlaskClient, endpoint: str, response_format: str, reason: str) -> None:
    response = generate(client, endpoint, response_format=response_format)
    message = f"MiniMax's response was not understood (HTTP status 200, {reason})."
    assert (response.status_code, response.json) == (502, envelope(message, "upstream_invalid_answer"))
    assert retry_headers(response) == ("false", None)


def delivered(client: FlaskClient, endpoint: str = "generations", **fields: Any) -> list[dict[str, str]]:
    """The images that the caller gets."""
    with generate(client, endpoint, **fields) as response:
        assert response.status_code == 200
        assert response.headers["Content-Length"] == str(len(response.data))
        document = json.loads(response.data)
        assert document.pop("created") > 0
        assert document.keys() == {"data", "metadata"}
        assert document["metadata"] == {"failed_count": "0"}
        images: list[dict[str, str]] = document["data"]
        return images


BARE = encoded(JPEG)
# What MiniMax sends, and what the caller gets.
CLEANED: dict[str, tuple[str, str]] = {
    "JPEG": (BARE, BARE),
    "PNG": (encoded(PNG), encoded(PNG)),
    "WebP": (encoded(WEBP), encoded(WEBP)),
    "three bytes": ("/9j/", "/9j/"),
    "one padding character": (encoded(JPEG, padding=1), encoded(JPEG, padding=1)),
    "two padding characters": (encoded(JPEG, padding=2), encoded(JPEG, padding=2)),
    "one padding character missing": (encoded(JPEG, padding=1)[:-1], encoded(JPEG, padding=1)),
    "two padding characters missing": (encoded(JPEG, padding=2)[:-2], encoded(JPEG, padding=2)),
    "PNG of eight bytes without padding": ("iVBORw0KGgo", "iVBORw0KGgo="),
    "data URL": (f"data:image/jpeg;base64,{BARE}", BARE),
    "data URL of another type": (f"data:image/png;base64,{BARE}", BARE),
    "data URL with parameters": (f"data:image/jpeg;name=a.jpg;charset=utf-8;base64,{BARE}", BARE),
    "data URL without a type": (f"data:;base64,{BARE}", BARE),
    "data URL in upper case": (f"DATA:IMAGE/JPEG;BASE64,{BARE}", BARE),
    "data URL in white space": (f"\n data:image/jpeg;base64, {BARE} \n", BARE),
    "data URL without padding": (f"data:image/jpeg;base64,{encoded(JPEG, padding=2)[:-2]}", encoded(JPEG, padding=2)),
    "space around it": (f"  {BARE} ", BARE),
    **{
        f"lines that end in {line_break!r}": (wrapped(BARE, line_break), BARE)
        for line_break in ("\n", "\r\n", "\t", " ", "\f")
    },
}
REJECTED: dict[str, tuple[str, str]] = {
    "no base64": ("!!!! not base64", NOT_BASE64),
    "words that are base64": ("not base64 at all", NOT_AN_IMAGE),
    "white space": (" \n", NOT_AN_IMAGE),
    "base64url": (encoded(LARGE[:999]).replace("+", "-").replace("/", "_"), NOT_BASE64),
    "one character too many": (BARE.rstrip("=") + "A" * (5 - len(BARE.rstrip("=")) % 4), NOT_BASE64),
    "three padding characters": (encoded(JPEG, padding=0) + "===", NOT_BASE64),
    "padding that does not fit": (encoded(JPEG, padding=0) + "=", NOT_BASE64),
    "padding in the middle": (f"{encoded(JPEG, padding=1)}{BARE}", NOT_BASE64),
    "padding at the start": (f"=={BARE}", NOT_BASE64),
    "padding in two places": (f"/9j=4AA{encoded(JPEG)}=", NOT_BASE64),
    "a quote": (f'{BARE[:8]}"{BARE[8:]}', NOT_BASE64),
    "an umlaut": (f"{BARE}ü", NOT_BASE64),
    "half a surrogate pair": (f"{BARE}\ud83e", NOT_BASE64),
    "NUL": (f"{BARE}\0", NOT_BASE64),
    "a no-break space": (f"{BARE}\xa0", NOT_BASE64),
    "HTML": ("<html><body>502</body></html>", NOT_BASE64),
    "HTML in base64": (encoded(b"<html><body>502 Bad Gateway</body></html>"), NOT_AN_IMAGE),
    "JSON in base64": (encoded(b'{"error": "no"}'), NOT_AN_IMAGE),
    "text in base64": (encoded(b"ok"), NOT_AN_IMAGE),
    "GIF": (encoded(GIF), NOT_AN_IMAGE),
    "BMP": (encoded(BMP), NOT_AN_IMAGE),
    "a RIFF file that is no WebP": (encoded(WAVE), NOT_AN_IMAGE),
    "JPEG in base64 twice": (encoded(BARE.encode()), NOT_AN_IMAGE),
    "two bytes": ("/9g=", NOT_AN_IMAGE),
    "padding alone": ("==", NOT_BASE64),
    "a URL": (URL, NOT_BASE64),
    "data URL of HTML": (f"data:text/html;base64,{encoded(b'<html></html>')}", NOT_AN_IMAGE),
    "data URL without base64": ("data:image/jpeg,%FF%D8%FF", NOT_BASE64),
    "data URL twice": (f"data:image/jpeg;base64,data:image/jpeg;base64,{BARE}", NOT_BASE64),
    "data URL without data": ("data:image/jpeg;base64,", NOT_AN_IMAGE),
}


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize(("sent", "passed"), CLEANED.values(), ids=CLEANED)
def test_base64_of_an_image_is_passed_on_clean(
    client: FlaskClient, upstream: FakeMinimax, endpoint: str, sent: str, passed: str
) -> None:
    upstream.script = respond(delivery(image_base64=[sent, BARE]))
    assert delivered(client, endpoint, response_format="b64_json") == [{"b64_json": passed}, {"b64_json": BARE}]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize(("sent", "reason"), REJECTED.values(), ids=REJECTED)
def test_anything_else_is_not_delivered(
    client: FlaskClient, upstream: FakeMinimax, endpoint: str, sent: str, reason: str
) -> None:
    upstream.script = respond(delivery(image_base64=[sent]))
    assert_not_delivered(client, endpoint, "b64_json", reason)
    assert len(upstream.received) == 1


@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize(
    ("key", "response_format", "good", "bad", "reason"),
    [
        ("image_base64", "b64_json", BARE, "!!!! not base64", NOT_BASE64),
        ("image_urls", "url", URL, "javascript:alert(1)", NOT_A_URL),
    ],
)
def test_one_bad_entry_spoils_the_response(
    client: FlaskClient,
    upstream: FakeMinimax,
    position: int,
    key: str,
    response_format: str,
    good: str,
    bad: str,
    reason: str,
) -> None:
    entries = [good, good]
    entries.insert(position, bad)
    upstream.script = respond(delivery(**{key: entries}))
    assert_not_delivered(client, "generations", response_format, reason)


@pytest.mark.parametrize(
    ("key", "response_format", "good"), [("image_base64", "b64_json", BARE), ("image_urls", "url", URL)]
)
def test_empty_entries_are_withheld_images(
    client: FlaskClient, upstream: FakeMinimax, key: str, response_format: str, good: str
) -> None:
    upstream.script = respond(delivery(**{key: ["", good, None, good]}))
    assert delivered(client, response_format=response_format) == [{response_format: good}] * 2


GOOD_URLS = (
    "http://images.example",
    "HTTP://images.example/1.jpeg",
    "HTTPS://IMAGES.EXAMPLE/1.jpeg",
    "https://user:password@images.example:8443/1.jpeg?a=1#b",
    "http://192.0.2.1/1.jpeg",
    "http://[2001:db8::1]:80/1.jpeg",
    "http://bücher.example/水.jpeg",
    " https://images.example/1.jpeg\n",
    f"https://images.example/{'a' * 5000}",
)
BAD_URLS = (
    "javascript:alert(1)",
    "JavaScript://images.example/%0aalert(1)",
    "java\tscript:alert(1)",
    "file:///etc/passwd",
    "file://images.example/etc/passwd",
    "ftp://images.example/1.jpeg",
    "ws://images.example/1.jpeg",
    f"data:image/jpeg;base64,{BARE}",
    BARE,
    "http:",
    "http://",
    "http:///1.jpeg",
    "https://?a=1",
    "https://#a",
    "http://:80/1.jpeg",
    "http://user@/1.jpeg",
    "http:images.example/1.jpeg",
    "http:\\\\images.example\\1.jpeg",
    "http:// /1.jpeg",
    "http://images example/1.jpeg",
    "http://images.example:port/1.jpeg",
    "http://images.example:99999/1.jpeg",
    "http://[::1/1.jpeg",
    "//images.example/1.jpeg",
    "/1.jpeg",
    "images.example/1.jpeg",
    "httpx://images.example",
    "<a href='http://images.example'>",
    " ",
    "\ud83e",
)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_an_http_url_is_passed_on_byte_for_byte(client: FlaskClient, upstream: FakeMinimax, endpoint: str) -> None:
    upstream.script = respond(delivery(image_urls=list(GOOD_URLS)))
    assert delivered(client, endpoint) == [{"url": url} for url in GOOD_URLS]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("url", BAD_URLS, ids=lambda url: ascii(url)[:40])
def test_any_other_url_is_not_delivered(client: FlaskClient, upstream: FakeMinimax, endpoint: str, url: str) -> None:
    upstream.script = respond(delivery(image_urls=[url]))
    assert_not_delivered(client, endpoint, "url", NOT_A_URL)


# Large ones lie in the spool.

LARGE_PADDED = encoded(LARGE, padding=2)
LARGE_CLEANED: dict[str, tuple[str, str]] = {
    "bare": (encoded(LARGE), encoded(LARGE)),
    "padded": (LARGE_PADDED, LARGE_PADDED),
    "without padding": (LARGE_PADDED[:-2], LARGE_PADDED),
    "one padding character missing": (encoded(LARGE, padding=1)[:-1], encoded(LARGE, padding=1)),
    "data URL": (f"data:image/jpeg;base64,{LARGE_PADDED}", LARGE_PADDED),
    "data URL without padding": (f"data:image/jpeg;base64,{LARGE_PADDED[:-2]}", LARGE_PADDED),
    "data URL in white space": (f"  data:image/jpeg;base64,{wrapped(LARGE_PADDED, ' ')}", LARGE_PADDED),
    **{
        f"lines that end in {line_break!r}": (wrapped(LARGE_PADDED, line_break), LARGE_PADDED)
        for line_break in ("\n", "\r\n", "\t", " ")
    },
}
LARGE_REJECTED: dict[str, tuple[str, str]] = {
    "base64url": (encoded(LARGE).replace("+", "-").replace("/", "_"), NOT_BASE64),
    "one bad character at the end": (encoded(LARGE)[:-1] + "!", NOT_BASE64),
    "one bad character in the middle": (encoded(LARGE)[:200_000] + "!!!!" + encoded(LARGE)[200_000:], NOT_BASE64),
    "an umlaut at the end": (encoded(LARGE) + "ü", NOT_BASE64),
    "padding in the middle": (LARGE_PADDED * 2, NOT_BASE64),
    "three padding characters": (encoded(LARGE) + "===", NOT_BASE64),
    "one character too many": (encoded(LARGE, padding=0) + "A", NOT_BASE64),
    "words that are base64": ("not base64 at all " * 10_000, NOT_AN_IMAGE),
    "white space": (" " * 100_000, NOT_AN_IMAGE),
    "HTML in base64": (encoded(b"<html>".ljust(100_000)), NOT_AN_IMAGE),
    "GIF": (encoded(GIF.ljust(100_000)), NOT_AN_IMAGE),
    "data URL of HTML": (f"data:text/html;base64,{encoded(b'<html>'.ljust(100_000))}", NOT_AN_IMAGE),
}


@pytest.mark.parametrize(("sent", "passed"), LARGE_CLEANED.values(), ids=LARGE_CLEANED)
def test_a_large_image_is_passed_on_clean(client: FlaskClient, upstream: FakeMinimax, sent: str, passed: str) -> None:
    upstream.script = respond(delivery(image_base64=[sent, encoded(LARGE), sent]))
    images = [{"b64_json": passed}, {"b64_json": encoded(LARGE)}, {"b64_json": passed}]
    assert delivered(client, response_format="b64_json") == images


@pytest.mark.parametrize(("sent", "reason"), LARGE_REJECTED.values(), ids=LARGE_REJECTED)
def test_anything_else_that_is_large_is_not_delivered(
    client: FlaskClient, upstream: FakeMinimax, sent: str, reason: str
) -> None:
    upstream.script = respond(delivery(image_base64=[encoded(LARGE), sent]))
    assert_not_delivered(client, "generations", "b64_json", reason)


@pytest.mark.parametrize(
    ("url", "is_good"),
    [(f"https://images.example/{'a' * 200_000}", True), ("a" * 200_000, False), (f"data:,{'a' * 200_000}", False)],
    ids=["http", "letters", "data"],
)
def test_a_large_url_is_checked_too(client: FlaskClient, upstream: FakeMinimax, url: str, is_good: bool) -> None:
    upstream.script = respond(delivery(image_urls=[url]))
    if not is_good:
        assert_not_delivered(client, "generations", "url", NOT_A_URL)
        return
    assert delivered(client) == [{"url": url}]


@pytest.mark.parametrize("size", [1, 3, 4, 7, 64, 1000, 65_536])
def test_the_size_of_the_pieces_does_not_matter(
    client: FlaskClient, upstream: FakeMinimax, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(minimax_client, "_CHUNK_BYTES", size)
    monkeypatch.setattr("app.spooling.json_reader.LARGE_BYTES", 64)
    for sent, passed in (*CLEANED.values(), (encoded(LARGE[:9000]), encoded(LARGE[:9000]))):
        upstream.script = respond(delivery(image_base64=[sent]))
        assert delivered(client, response_format="b64_json") == [{"b64_json": passed}], sent[:80]
    for sent, reason in REJECTED.values():
        upstream.script = respond(delivery(image_base64=[sent]))
        assert_not_delivered(client, "generations", "b64_json", reason)


def test_no_room_to_rewrite_an_image_is_503(
    make_client: MakeClient, upstream: FakeMinimax, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, bound = Spool.write, len(LARGE_PADDED) + 1000

    def write_up_to_the_bound(self: Spool, data: bytes) -> int:
        if self.size + len(data) > bound:
            raise SpoolFull
        return write(self, data)

    monkeypatch.setattr(Spool, "write", write_up_to_the_bound)
    upstream.script = respond(delivery(image_base64=[LARGE_PADDED[:-2]]))
    response = generate(make_client(), response_format="b64_json")
    assert (response.status_code, response.json and response.json["error"]["code"]) == (503, "answer_not_stored")
    assert retry_headers(response) == ("false", None)


def test_the_outcome_of_a_response_without_images_is_unknown(upstream: FakeMinimax) -> None:
    upstream.script = respond(delivery(image_base64=["!!!! not base64"]))
    with pytest.raises(MinimaxError) as caught:
        MinimaxClient(upstream.url, 30).generate_images({"prompt": "p", "response_format": "base64"}, "sk-upstream")
    assert caught.value.outcome_unknown


def test_nothing_of_a_bad_entry_is_quoted(
    client: FlaskClient, upstream: FakeMinimax, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    secret = binascii.hexlify(os.urandom(20)).decode()
    for key, response_format in (("image_base64", "b64_json"), ("image_urls", "url")):
        upstream.script = respond(delivery(**{key: [f"!{secret}"]}))
        response = generate(client, response_format=response_format)
        assert secret not in response.get_data(as_text=True)
    assert secret not in caplog.text
    assert json.dumps(secret) not in caplog.text
