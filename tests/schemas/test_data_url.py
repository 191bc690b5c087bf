"""Data URLs against a direct transcription of the WHATWG's algorithms; large ones in constant memory."""

from __future__ import annotations

import base64
import json
import re
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from app.schemas.data_url import InvalidDataUrl, is_data_url, read_data_url
from app.schemas.json_body import decode_json
from app.schemas.reference_image import MAX_IMAGE_BYTES, check_reference
from app.spooling import spool as spool_module
from app.spooling.spool import CHUNK_BYTES, Spool
from app.spooling.spooled_text import SpooledText
from tests.support.images import JPEG, PNG, data_url

MB = 1024 * 1024
PIECES = [
    "/9j/",
    "AAAA",
    "+",
    "/",
    "A",
    "=",
    "==",
    "%2B",
    "%2f",
    "%3D",
    "%0A",
    "%20",
    "%",
    "%2",
    "%4",
    "1",
    "%41",
    "%%41",
]
PIECES += [" ", "\n", "\r\n", "\t", "\f", "\v", "-", "_", "#", "?", "é", "\ufffd", "\0", "iVBORw0KGgo"]
HEADS = ["data:image/jpeg;base64,", "DATA:;BASE64,", "data:a/b; base64 ,", "da\nta:;base\t64,", " \n data:;base64,"]
HEADS += ["data:,", "data:;base64x,", "data:#;base64,", "data;base64,", "data:;base64"]


def browser_decode(text: str) -> bytes | None:
    """What `fetch(text)` returns in a browser, None for a network error. But NUL around the URL is not stripped."""
    url = re.sub(r"[\t\n\r]", "", text.strip(" \t\n\v\f\r")).split("#")[0]
    head, comma, body = url.partition(",")
    if not comma or not re.fullmatch(r"(?is)data:.*; *base64", head.rstrip(" \f")):
        return None
    encoded = re.sub(rb"[ \t\n\f\r]", b"", unquote_to_bytes(body))
    if len(encoded) % 4 == 0:
        encoded = re.sub(rb"={1,2}\Z", b"", encoded)
    if len(encoded) % 4 == 1 or not re.fullmatch(rb"[A-Za-z0-9+/]*", encoded):
        return None
    return base64.b64decode(encoded + b"=" * (-len(encoded) % 4))


@contextmanager
def spooled(text: str) -> Iterator[SpooledText]:
    spool = Spool()
    spool.write(b"before it")
    start = spool.size
    spool.write(text.encode())
    found = SpooledText(spool, start, len(text))
    spool.write(b"behind it")
    yield found
    spool.close()


def outcome(text: str | SpooledText) -> tuple[bytes, int, str] | str:
    """The decoded bytes, their counted size, and the clean spelling; or the message."""
    try:
        body = read_data_url(text)
    except InvalidDataUrl as error:
        return str(error)
    encoded = str(body.encoded)
    decoded = base64.b64decode(encoded, validate=True)
    assert decoded.startswith(body.first_bytes)
    assert len(body.first_bytes) == min(12, len(decoded))
    return decoded, body.size, encoded


@given(head=st.sampled_from(HEADS[:5]) | st.sampled_from(HEADS), pieces=st.lists(st.sampled_from(PIECES), max_size=20))
@settings(max_examples=500)
def test_a_data_url_is_decoded_as_browsers_do(head: str, pieces: list[str]) -> None:
    text = head + "".join(pieces)
    expected, got = browser_decode(text), outcome(text)
    if expected is None:
        event("invalid")
        assert isinstance(got, str)
    else:
        event("valid")
        assert got[:2] == (expected, len(expected))
    if text.isascii() and "\v" not in text:
        with pytest.MonkeyPatch.context() as patch, spooled(text) as large:
            patch.setattr(spool_module, "CHUNK_BYTES", 24)
            assert outcome(large) == got


@given(st.binary(max_size=60), st.randoms())
def test_every_spelling_is_cleaned_to_the_same_text(content: bytes, random: object) -> None:
    """Percent-encoding, white space and missing padding at random."""
    encoded = base64.b64encode(content).decode()
    choice = random.choice  # type: ignore[attr-defined]
    padded = encoded if choice([True, False]) else encoded.rstrip("=")
    spelled = "".join(
        choice(["", "", "\n", " ", "%0d"]) + choice([character, f"%{ord(character):02X}"]) for character in padded
    )
    assert outcome(f"data:;base64,{spelled}") == (content, len(content), encoded)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("data:", True),
        ("DATA:x", True),
        ("\n\t data:x", True),
        ("d\na\rt\ta\n:x", True),
        ("data", False),
        ("", False),
        (" ", False),
        ("xdata:", False),
        ("\0data:x", False),
        ("https://a/data:", False),
    ],
)
def test_the_scheme_decides_whether_it_is_a_data_url(text: str, expected: bool) -> None:
    assert is_data_url(text) is expected


@pytest.mark.parametrize("image", [JPEG, PNG])
def test_a_clean_data_url_is_not_copied(image: bytes) -> None:
    with spooled(data_url(image.ljust(MB, b"~"))) as large:
        before = large.spool.size
        assert len(check_reference(large)) > MB
        assert large.spool.size == before


def test_an_unclean_data_url_is_copied_once() -> None:
    url = data_url(JPEG.ljust(MB, b"~"))
    with spooled(url + "\n") as large:
        before = large.spool.size
        assert str(check_reference(large)) == url
        assert large.spool.size == before + len(url) - len("data:image/jpeg;base64,")


LARGEST = JPEG.ljust(MAX_IMAGE_BYTES - 1, b"x")
WRAPPED: dict[str, Callable[[bytes], bytes]] = {
    "lines": lambda encoded: b"\\n".join(encoded[i : i + 76] for i in range(0, len(encoded), 76)),
    "windows lines": lambda encoded: b"\\r\\n".join(encoded[i : i + 76] for i in range(0, len(encoded), 76)),
    "a newline at the end": lambda encoded: encoded + b"\\n",
    "slashes escaped": lambda encoded: encoded.replace(b"/", b"\\/") + b"\\t",
    "percent-encoded": lambda encoded: encoded.replace(b"/", b"%2F").replace(b"+", b"%2B"),
    "without padding": lambda encoded: encoded.rstrip(b"="),
    "clean": lambda encoded: encoded,
}


@pytest.mark.parametrize("spelling", WRAPPED)
def test_a_large_data_url_is_cleaned_in_constant_memory(spelling: str) -> None:
    encoded = WRAPPED[spelling](base64.b64encode(LARGEST))
    body = b'{"image": "data:image/jpeg;base64,' + encoded + b'"}'
    assert len(body) < 16 * MB
    assert json.loads(body)
    pieces = (body[i : i + CHUNK_BYTES] for i in range(0, len(body), CHUNK_BYTES))
    spool = Spool()
    tracemalloc.start()
    try:
        document = decode_json(pieces, spool)
        checked = check_reference(document["image"])
        assert isinstance(checked, SpooledText)
        size = sum(map(len, checked.chunks()))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * MB, f"{peak / MB:.1f} MB"
    assert str(checked) == data_url(LARGEST)
    assert size == len(checked)
    spool.close()


@pytest.mark.parametrize("spoilt", ["*", "%2A", "=", "-", "~"])
def test_a_large_data_url_with_invalid_base64_is_rejected_in_constant_memory(spoilt: str) -> None:
    encoded = base64.b64encode(LARGEST).decode()
    with spooled(f"data:image/jpeg;base64,{encoded[: 9 * MB]}{spoilt}{encoded[9 * MB :]}") as large:
        tracemalloc.start()
        try:
            with pytest.raises(InvalidDataUrl, match="base64url" if spoilt == "-" else "invalid base64"):
                read_data_url(large)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 3 * MB, f"{peak / MB:.1f} MB"
