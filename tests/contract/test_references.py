"""The reference image: as a file, data URL or URL. Each gives the same payload, or an error."""

from __future__ import annotations

import base64
import json
from io import BytesIO
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.contract.reference_requests import (
    DATA,
    MB,
    NOT_BOTH,
    URL,
    Post,
    check_rejected,
    check_sent,
    in_form,
    in_json,
    in_pairs,
    sent,
)
from tests.support.fake_minimax import FakeMinimax
from tests.support.images import GIF, JPEG, PNG, WEBP, data_url
from tests.support.request_encodings import (
    BASE,
    BOUNDARY,
    EDITS,
    GENERATIONS,
    PLAIN,
    REFERENCE,
    a_file,
    as_reference,
    multipart,
    post_form,
)

THREE_WAYS = {
    "generations, at the root": in_json(GENERATIONS, subject_reference=REFERENCE),
    "generations, extra_body": in_json(GENERATIONS, extra_body={"subject_reference": REFERENCE}),
    "generations, OpenAI's images": in_json(GENERATIONS, images=[{"image_url": DATA}]),
    "edits, at the root": in_json(EDITS, subject_reference=REFERENCE),
    "edits, extra_body": in_json(EDITS, extra_body={"subject_reference": REFERENCE}),
    "edits, OpenAI's images": in_json(EDITS, images=[{"image_url": DATA}]),
    "edits, images in extra_body": in_json(EDITS, extra_body={"images": [{"image_url": DATA}]}),
    "image_file as an array": in_json(GENERATIONS, subject_reference=as_reference([DATA])),
    "the first non-empty of an array": in_json(GENERATIONS, subject_reference=as_reference(["", None, DATA, URL])),
    "the root wins": in_json(
        GENERATIONS, subject_reference=REFERENCE, extra_body={"subject_reference": as_reference(URL)}
    ),
    "a file": in_form(a_file),
    "a file, and an empty array": in_form(a_file, subject_reference="[]", images="[]"),
    "a file, and a field left empty": in_form(a_file, subject_reference="", image=""),
    "a file, and null": in_form(a_file, subject_reference="null"),
    "a form, as both SDKs flatten it": in_form(subject_reference=REFERENCE),
    "a form, in extra_body": in_form(extra_body={"subject_reference": REFERENCE}),
    "a form, an array in extra_body": in_form(extra_body={"subject_reference": as_reference([DATA])}),
    "a form, as JSON": in_form(subject_reference=json.dumps(REFERENCE)),
    "a form, as JSON in extra_body": in_form(extra_body=json.dumps({"subject_reference": REFERENCE})),
    "a form, JSON within extra_body": in_form(extra_body={"subject_reference": json.dumps(REFERENCE)}),
    "a form, image_file as an array": in_form(subject_reference=as_reference(["", DATA])),
    "a form, more in the array": in_form(subject_reference=as_reference([DATA, URL, DATA])),
    "a form, OpenAI's images": in_form(images=[{"image_url": DATA}]),
    "a form, with positions": in_pairs(
        ("subject_reference[0][type]", "character"), ("subject_reference[0][image_file]", DATA)
    ),
    "a form, the other way round": in_pairs(
        ("subject_reference[][image_file]", DATA), ("subject_reference[][type]", "character")
    ),
    "a form, positions within": in_pairs(
        ("subject_reference[0][image_file][0]", ""),
        ("subject_reference[0][image_file][1]", DATA),
        ("subject_reference[0][type]", "character"),
    ),
}


@pytest.mark.parametrize("post", THREE_WAYS.values(), ids=THREE_WAYS)
def test_every_way_of_giving_a_reference_sends_the_same_payload(
    client: FlaskClient, upstream: FakeMinimax, post: Post
) -> None:
    check_sent(post(client), upstream, DATA)


@pytest.mark.parametrize("part", ["image", "image[]", "image[0]", "image[1]"])
@pytest.mark.parametrize(
    "name", ["face.jpg", "upload", "", "../../etc/passwd", "..\\..\\x", "/dev/null", "水彩.jpg", "a;b.jpg", "face.webp"]
)
def test_a_file_is_found_by_its_part_name_and_not_its_file_name(
    client: FlaskClient, upstream: FakeMinimax, part: str, name: str
) -> None:
    check_sent(post_form(client, BASE, a_file(part=part, name=name)), upstream, DATA)


@pytest.mark.parametrize(("image", "kind"), [(JPEG, "image/jpeg"), (PNG, "image/png")], ids=["jpeg", "png"])
@pytest.mark.parametrize(
    "declared", ["application/octet-stream", "image/jpeg", "image/png", "image/webp", "text/plain; charset=x", ""]
)
def test_the_type_of_a_file_comes_from_its_first_bytes(
    client: FlaskClient, upstream: FakeMinimax, image: bytes, kind: str, declared: str
) -> None:
    check_sent(post_form(client, BASE, a_file(image, mime_type=declared)), upstream, data_url(image, kind))


@pytest.mark.parametrize(("image", "kind"), [(JPEG, "image/jpeg"), (PNG, "image/png")], ids=["jpeg", "png"])
@pytest.mark.parametrize(
    "head", ["data:image/jpeg", "data:image/png", "data:image/webp", "data:", "DATA:IMAGE/JPEG", "data:image/png;a=b"]
)
def test_the_type_of_a_data_url_comes_from_its_first_bytes(
    client: FlaskClient, upstream: FakeMinimax, image: bytes, kind: str, head: str
) -> None:
    reference = as_reference(f"{head};base64,{base64.b64encode(image).decode()}")
    check_sent(client.post(GENERATIONS, json=BASE | {"subject_reference": reference}), upstream, data_url(image, kind))


NO_PICTURES = {
    "webp": WEBP,
    "gif": GIF,
    "text": b"a face",
    "svg": b"<svg/>",
    "nothing": b"",
    "half a magic number": b"\xff\xd8",
    "png without its line ends": b"\x89PNG",
    "jpeg, later on": b" " + JPEG,
    "base64 of a jpeg": base64.b64encode(JPEG),
}


@pytest.mark.parametrize("image", NO_PICTURES.values(), ids=NO_PICTURES)
def test_an_image_that_is_not_jpeg_or_png_is_rejected(client: FlaskClient, upstream: FakeMinimax, image: bytes) -> None:
    check_rejected(post_form(client, BASE, a_file(image)), upstream, "image must be a JPEG or PNG image.", "image")
    reference = as_reference(data_url(image))
    got = client.post(GENERATIONS, json=BASE | {"subject_reference": reference})
    param = "subject_reference[0].image_file"
    check_rejected(got, upstream, f"{param} must be a JPEG or PNG image.", param)


def test_an_image_is_smaller_than_10_mb(client: FlaskClient, upstream: FakeMinimax) -> None:
    """The limit is in decoded bytes, for files and data URLs alike."""
    largest, too_large = (JPEG.ljust(size, b"\0") for size in (10 * MB - 1, 10 * MB))
    param = "subject_reference[0].image_file"
    check_rejected(post_form(client, BASE, a_file(too_large)), upstream, "image must be smaller than 10 MB.", "image")
    got = client.post(GENERATIONS, json=BASE | {"subject_reference": as_reference(data_url(too_large))})
    check_rejected(got, upstream, f"{param} must be smaller than 10 MB.", param)

    check_sent(post_form(client, BASE, a_file(largest)), upstream, data_url(largest))
    upstream.received.clear()
    got = client.post(GENERATIONS, json=BASE | {"subject_reference": as_reference(data_url(largest))})
    check_sent(got, upstream, data_url(largest))
    upstream.received.clear()
    check_sent(
        post_form(client, BASE | {"subject_reference": as_reference(data_url(largest))}), upstream, data_url(largest)
    )


URLS = [
    URL,
    "http://example.com",
    "HTTPS://EXAMPLE.COM/A.JPG",
    "https://user:secret@example.com:8443/a.jpg",
    "http://127.0.0.1:9/private.jpg",
    "http://[::1]/a.jpg",
    "https://example.com/水彩.jpg",
    "https://example.com/" + "a" * 8000,
    "https://example.com/image.webp",
]


@pytest.mark.parametrize("url", URLS, ids=lambda url: url[:40])
def test_a_url_is_passed_on_as_it_is(client: FlaskClient, upstream: FakeMinimax, url: str) -> None:
    check_sent(client.post(GENERATIONS, json=BASE | {"subject_reference": as_reference(url)}), upstream, url)


def test_a_url_is_never_fetched(client: FlaskClient, upstream: FakeMinimax) -> None:
    """The URL points at the fake MiniMax, which receives one request only: the image generation."""
    url = f"{upstream.url}/face.jpg"
    for post in (in_json(GENERATIONS, subject_reference=as_reference(url)), in_form(images=[{"image_url": url}])):
        check_sent(post(client), upstream, url)
        assert upstream.received[0].line == "POST /v1/image_generation HTTP/1.1"
        upstream.received.clear()


NO_URL = "must be an http(s) URL without white space, or a data URL of a JPEG or PNG image"
NO_DATA_URL = "must be a data URL of the form 'data:image/jpeg;base64,…'"
NO_BASE64 = "holds invalid base64"
BASE64URL = "holds invalid base64: - and _ are of the base64url alphabet, send + and / instead"
NO_TEXT = "must be a non-empty string, or an array with one"
ENCODED = base64.b64encode(JPEG).decode()

TEXTLESS: tuple[Any, ...] = ("", [], [""], ["", None], 1, True, {}, {"url": URL}, [1], [[URL]], [{}], [0, URL])
BAD_IMAGE_FILES: list[tuple[Any, str]] = [
    *((value, NO_URL) for value in ("face.jpg", "ftp://a/b", "file:///etc/passwd", "//a/b", "https://", "http:///a")),
    *((value, NO_URL) for value in (" https://a/b", "https://a/b c", "https://a/\n", "https://a/\0", "javascript:1")),
    *((value, NO_URL) for value in ("http://[::1", "http://:80/", "https://a/\u202e", "blob:https://a/b", ENCODED)),
    ("https://example.com/" + "a" * 8192, "must be a URL of at most 8192 characters, or a data URL"),
    *((value, NO_DATA_URL) for value in ("data:", "data:,x", f"data:image/jpeg,{ENCODED}", f"data:base64,{ENCODED}")),
    *(
        (value, NO_DATA_URL)
        for value in (f"data:image/jpeg;base64{ENCODED}", "data:" + "a" * 300 + f";base64,{ENCODED}")
    ),
    *((f"data:image/jpeg;base64,{bad}", NO_BASE64) for bad in ("%", "/9j/A", ENCODED + "=", ENCODED + "=" + ENCODED)),
    *((f"data:image/jpeg;base64,{bad}", NO_BASE64) for bad in (f"\xa0{ENCODED}", f"{ENCODED}\u3000", "水彩")),
    *(
        (f"data:image/jpeg;base64,{bad}", NO_BASE64)
        for bad in (f"{ENCODED[:8]}\v{ENCODED[8:]}", "%2", "%zz", "% 2F9j/")
    ),
    *((f"data:image/jpeg;base64,{bad}", NO_BASE64) for bad in (ENCODED + "A===", "/9j/\0", "%FF%D8%FF", "%252F9j/")),
    *((f"data:image/jpeg;base64,{bad}", NO_BASE64) for bad in ("=" + ENCODED, ENCODED + "?a=b", "_9j*", "/9j/AA=")),
    *((f"data:image/jpeg;base64,{bad}", BASE64URL) for bad in (ENCODED.replace("/", "_"), "_9j_", "%5F9j-", "_9j_ A")),
    *((value, NO_DATA_URL) for value in (f"data:image/jpeg#;base64,{ENCODED}", f"data:image/jpeg;base64%2C{ENCODED}")),
    *((value, NO_DATA_URL) for value in (f"data:image/jpeg;base64;x,{ENCODED}", f"data:image/jpeg;b ase64,{ENCODED}")),
    (f"\xa0data:image/jpeg;base64,{ENCODED}", NO_URL),
    ("data:image/jpeg;base64,", "must be a JPEG or PNG image"),
    *((value, NO_TEXT) for value in TEXTLESS),
    (None, "is required"),
]


@pytest.mark.parametrize(("image_file", "fault"), BAD_IMAGE_FILES, ids=lambda value: repr(value)[:40])
def test_an_image_file_must_be_a_url_or_a_data_url(
    client: FlaskClient, upstream: FakeMinimax, image_file: Any, fault: str
) -> None:
    param = "subject_reference[0].image_file"
    for path in (GENERATIONS, EDITS):
        got = client.post(path, json=BASE | {"subject_reference": as_reference(image_file)})
        check_rejected(got, upstream, f"{param} {fault}.", param)


NO_ARRAY = "subject_reference must be an array of objects with type and image_file."
NO_OBJECT = "subject_reference[0] must be an object with type and image_file."
NO_IMAGES = 'images must be an array of {"image_url": …} objects.'
TOO_MANY = "subject_reference must hold one reference: MiniMax takes no more."
EITHER = NOT_BOTH.format("images or subject_reference")

NO_OBJECTS: tuple[Any, ...] = (URL, None, [], REFERENCE, 1)
NO_IMAGE_ARRAYS: tuple[Any, ...] = (URL, "", {}, [URL], [None], [{}], [{"file_id": "f"}], 0)
BAD_SHAPES: list[tuple[dict[str, Any], str, str]] = [
    *(
        ({"subject_reference": bad}, NO_ARRAY, "subject_reference")
        for bad in (URL, "", {}, REFERENCE[0], 1, 0, True, False)
    ),
    *(({"subject_reference": [bad]}, NO_OBJECT, "subject_reference[0]") for bad in NO_OBJECTS),
    ({"subject_reference": REFERENCE * 2}, TOO_MANY, "subject_reference"),
    ({"images": [{"image_url": URL}] * 2}, TOO_MANY, "subject_reference"),
    *(({"images": bad}, NO_IMAGES, "images") for bad in NO_IMAGE_ARRAYS),
    *(({"images": [{"image_url": bad}]}, NO_IMAGES, "images") for bad in (None, "")),
    ({"images": [{"image_url": URL}], "subject_reference": REFERENCE}, EITHER, "images"),
    # A value that is neither absent nor a reference is rejected.
    ({"images": [{"image_url": URL}], "subject_reference": False}, EITHER, "images"),
    ({"images": [{"image_url": URL}], "subject_reference": ""}, EITHER, "images"),
    *(
        ({"subject_reference": [{"type": bad, "image_file": URL}]}, f"{param} must be: character.", param)
        for bad in ("person", "Character", "", "character ")
        for param in ("subject_reference[0].type",)
    ),
    (
        {"subject_reference": [{"image_file": URL}]},
        "subject_reference[0].type is required.",
        "subject_reference[0].type",
    ),
    ({"subject_reference": [{}]}, "subject_reference[0].type is required.", "subject_reference[0].type"),
    (
        {"subject_reference": [{"type": "character"}]},
        "subject_reference[0].image_file is required.",
        "subject_reference[0].image_file",
    ),
]


@pytest.mark.parametrize(("fields", "message", "param"), BAD_SHAPES, ids=lambda value: repr(value)[:50])
def test_a_reference_of_another_shape_is_rejected(
    client: FlaskClient, upstream: FakeMinimax, fields: dict[str, Any], message: str, param: str
) -> None:
    for path in (GENERATIONS, EDITS):
        check_rejected(client.post(path, json=BASE | fields), upstream, message, param)


def test_other_members_of_a_reference_are_listed_as_ignored(client: FlaskClient, upstream: FakeMinimax) -> None:
    got = client.post(EDITS, json=BASE | {"subject_reference": [REFERENCE[0] | {"strength": 1}]})
    assert (got.status_code, got.headers["x-amux-ignored"]) == (200, "subject_reference.strength")
    got = client.post(EDITS, json=BASE | {"images": [{"image_url": DATA, "detail": "high", "file_id": None}]})
    assert (got.status_code, got.headers["x-amux-ignored"]) == (200, "images.detail")
    assert sent(upstream) == [PLAIN | {"subject_reference": REFERENCE}] * 2


@pytest.mark.parametrize(
    "parts", [("image", "image"), ("image[]", "image[]"), ("image", "image[]"), ("image[0]", "image[1]")]
)
def test_more_than_one_file_is_rejected(client: FlaskClient, upstream: FakeMinimax, parts: tuple[str, str]) -> None:
    got = post_form(client, BASE, *(a_file(part=part) for part in parts))
    check_rejected(got, upstream, "MiniMax takes one reference image, not 2.", "image")


@pytest.mark.parametrize(
    "fields",
    [
        {"subject_reference": REFERENCE},
        {"subject_reference": json.dumps(REFERENCE)},
        {"subject_reference": "{}"},
        {"subject_reference": "text"},
        {"images": [{"image_url": URL}]},
        {"extra_body": {"subject_reference": REFERENCE}},
        {"extra_body": json.dumps({"subject_reference": REFERENCE})},
        {"extra_body": json.dumps({"images": False})},
    ],
    ids=lambda fields: repr(fields)[:50],
)
def test_a_file_beside_another_reference_is_rejected(
    client: FlaskClient, upstream: FakeMinimax, fields: dict[str, Any]
) -> None:
    other = "images" if "images" in repr(fields) else "subject_reference"
    got = post_form(client, BASE | fields, a_file())
    check_rejected(got, upstream, NOT_BOTH.format(f"a file or {other}"), "image")


def test_an_empty_file_input_is_absent(client: FlaskClient, upstream: FakeMinimax) -> None:
    """Browsers send a file input without a chosen file as an empty file without a name."""
    nothing = {"name": "", "mime_type": "application/octet-stream"}
    got = post_form(client, BASE, a_file(b"", **nothing))
    check_rejected(got, upstream, "image is required: a JPEG or PNG file, or subject_reference.", "image")
    got = post_form(client, BASE, a_file(), a_file(b"", part="image", **nothing), a_file(b"", part="mask", **nothing))
    check_sent(got, upstream, DATA)


FILES = [
    ("mask", "mask is not supported: MiniMax redraws a character, it does not inpaint."),
    ("n", "n must be an integer."),
    ("size", "size must be a string of valid Unicode."),
    ("style", "style must be an object."),
    ("extra_body", "extra_body must be an object."),
]


@pytest.mark.parametrize(("name", "message"), FILES)
def test_a_file_under_the_name_of_a_field_is_rejected(
    client: FlaskClient, upstream: FakeMinimax, name: str, message: str
) -> None:
    got = post_form(client, BASE, a_file(), a_file(PNG, part=name))
    check_rejected(got, upstream, message, name)
    got = post_form(client, BASE | {name: "1"}, a_file(), a_file(PNG, part=name))
    check_rejected(got, upstream, "The same field is given twice.", name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("subject_reference", "subject_reference must be an array of objects with type and image_file."),
        ("images", 'images must be an array of {"image_url": …} objects.'),
    ],
)
@pytest.mark.parametrize("image", [JPEG, b"", b"a" * 100_000])
def test_a_file_under_the_name_of_a_list_is_rejected(
    client: FlaskClient, upstream: FakeMinimax, name: str, message: str, image: bytes
) -> None:
    check_rejected(post_form(client, BASE, a_file(image, part=name)), upstream, message, name)


def test_any_other_file_is_listed_as_ignored(client: FlaskClient, upstream: FakeMinimax) -> None:
    got = post_form(client, BASE, a_file(), a_file(part="picture"), a_file(part="image[face]"))
    assert (got.status_code, got.headers["x-amux-ignored"]) == (200, "image[face], picture")
    assert sent(upstream) == [PLAIN | {"subject_reference": REFERENCE}]


def test_a_chunked_form_without_a_length_is_read(client: FlaskClient, upstream: FakeMinimax) -> None:
    """Node sends streams this way. The server marks the end of the body."""
    got = client.post(
        EDITS,
        input_stream=BytesIO(multipart(*BASE.items(), a_file())),
        content_type=f"multipart/form-data; boundary={BOUNDARY}",
        environ_overrides={"wsgi.input_terminated": True, "CONTENT_LENGTH": ""},
    )
    check_sent(got, upstream, DATA)
