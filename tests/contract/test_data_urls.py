"""Data URLs are read as browsers read them, and sent in clean spelling."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from tests.contract.reference_requests import (
    check_sent,
    in_form,
    in_json,
)
from tests.support.fake_minimax import FakeMinimax
from tests.support.images import JPEG, data_url
from tests.support.request_encodings import (
    EDITS,
    GENERATIONS,
    as_reference,
)

# Data URLs as browsers read them. Each is sent as `DATA`.
HEAD, JPEG_OF_TWO_PADS = "data:image/jpeg;base64,", JPEG.ljust(len(JPEG) // 3 * 3 + 4, b"~")
TWO_PADS = data_url(JPEG_OF_TWO_PADS)
BODY = TWO_PADS.removeprefix(HEAD)


def wrapped(text: str, end: str, width: int = 76) -> str:
    return end.join(text[i : i + width] for i in range(0, len(text), width))


def percent_encoded(text: str) -> str:
    return "".join(f"%{ord(character):02x}" for character in text)


BROWSERS: dict[str, str] = {
    **{f"wrapped with {end!r}": HEAD + wrapped(BODY, end) for end in (" ", "\t", "\n", "\f", "\r", "\r\n", " \n\t")},
    **{f"{end!r} at the end": TWO_PADS + end for end in (" ", "\t", "\n", "\f", "\r", "\r\n", "\v", "\n\n  ")},
    **{f"{start!r} before it": start + TWO_PADS for start in (" ", "\t", "\n", "\f", "\r", "\r\n", "\v")},
    **{f"{space!r} behind the comma": f"{HEAD}{space}{BODY}" for space in (" ", "\t", "\n", "\f", "\r")},
    **{f"{space!r} in the padding": f"{TWO_PADS[:-1]}{space}=" for space in (" ", "\n", "%0A")},
    **{
        f"{space} percent-encoded": HEAD + wrapped(BODY, space)
        for space in ("%20", "%09", "%0A", "%0a", "%0C", "%0D%0A")
    },
    "each character its own line": HEAD + wrapped(BODY, "\n", 1),
    "without padding": TWO_PADS.rstrip("="),
    "without padding, a newline at the end": TWO_PADS.rstrip("=") + "\n",
    "without padding, wrapped": HEAD + wrapped(BODY.rstrip("="), "\r\n"),
    "padding percent-encoded": TWO_PADS.replace("=", "%3D"),
    "+, / and = percent-encoded": HEAD + BODY.replace("+", "%2B").replace("/", "%2f").replace("=", "%3d"),
    "all percent-encoded": HEAD + percent_encoded(BODY),
    "percent-encoded, then wrapped": HEAD + wrapped(percent_encoded(BODY), "\n", 7),
    "percent-encoded, wrapped, without padding": HEAD + wrapped(percent_encoded(BODY.rstrip("=")), "\r\n", 5),
    "a fragment": TWO_PADS + "#face",
    "a fragment, without padding": TWO_PADS.rstrip("=") + "#-_ %",
    "upper case": "DATA:IMAGE/JPEG;BASE64," + BODY,
    "a space in the head": "data:image/jpeg; base64," + BODY,
    "spaces around the type": "data: image/jpeg ;  base64 ," + BODY,
    "newlines in the head": "da\nta:image/\r\njpeg;base\t64\n," + BODY,
    "parameters": "data:image/jpeg;charset=utf-8;name=a.jpg;base64," + BODY,
    "no type": "data:;base64," + BODY,
    "several at once": "\n data:image/png ;base64,\n" + wrapped(BODY[:-2].replace("/", "%2F"), "\n\r", 10) + "\t#x",
}


@pytest.mark.parametrize("text", BROWSERS.values(), ids=BROWSERS)
def test_a_data_url_is_read_as_browsers_read_it_and_sent_clean(
    client: FlaskClient, upstream: FakeMinimax, text: str
) -> None:
    posts = [
        in_json(GENERATIONS, subject_reference=as_reference(text)),
        in_json(EDITS, images=[{"image_url": text}]),
        in_json(EDITS, image=text),
        in_json(GENERATIONS, extra_body={"subject_reference": as_reference(["", text])}),
        in_form(subject_reference=as_reference(text)),
        in_form(image=text),
    ]
    for post in posts:
        check_sent(post(client), upstream, TWO_PADS)
        upstream.received.clear()


@pytest.mark.parametrize("end", ["\n", "\r\n", "\t", "\f", " ", "%0A", "\r\n\t "])
@pytest.mark.parametrize("pads", [0, 1, 2])
def test_a_large_data_url_is_read_the_same_way(client: FlaskClient, upstream: FakeMinimax, end: str, pads: int) -> None:
    image = JPEG.ljust(1_200_000 - pads, b"~")
    url = data_url(image)
    assert url.endswith("=" * pads)
    texts = [
        HEAD + wrapped(url.removeprefix(HEAD), end),
        wrapped(url, end.replace("%0A", "\n").strip(" \f") or "\n").rstrip("=") + end,
        HEAD + wrapped(url.removeprefix(HEAD).replace("A", "%41"), end.strip(" \f%0A") or "\n", 77),
    ]
    for text in texts:
        check_sent(in_json(GENERATIONS, subject_reference=as_reference(text))(client), upstream, url)
        upstream.received.clear()
        check_sent(in_json(EDITS, image=text)(client), upstream, url)
        upstream.received.clear()
    check_sent(in_form(image=texts[0])(client), upstream, url)
