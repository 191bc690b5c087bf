"""The reference image in the field `image`: in JSON, as form text, and as a file without a file name."""

from __future__ import annotations

import json
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
from tests.contract.test_references import BAD_IMAGE_FILES
from tests.support.fake_minimax import FakeMinimax
from tests.support.images import GIF, JPEG, PNG, WEBP, data_url
from tests.support.request_encodings import (
    BASE,
    EDITS,
    GENERATIONS,
    PLAIN,
    REFERENCE,
    a_file,
    as_reference,
    post_form,
    post_parts,
)

ONE = "MiniMax takes one reference image, not {}."
IMAGES = [{"image_url": URL}]
SEVERAL: dict[str, tuple[Post, str, str]] = {
    "image, images": (in_json(EDITS, image=URL, images=IMAGES), NOT_BOTH.format("image or images"), "image"),
    "image, subject_reference": (
        in_json(GENERATIONS, image={"url": DATA}, subject_reference=REFERENCE),
        NOT_BOTH.format("image or subject_reference"),
        "image",
    ),
    "all three": (
        in_json(GENERATIONS, image=URL, images=IMAGES, subject_reference=REFERENCE),
        "Give one reference: image or images or subject_reference, not all.",
        "image",
    ),
    "the same one twice": (
        in_json(EDITS, image=DATA, subject_reference=REFERENCE),
        NOT_BOTH.format("image or subject_reference"),
        "image",
    ),
    "image, images in extra_body": (
        in_json(EDITS, image=URL, extra_body={"images": IMAGES}),
        NOT_BOTH.format("image or images"),
        "image",
    ),
    "images, image in extra_body": (
        in_json(GENERATIONS, images=IMAGES, extra_body={"image": [URL]}),
        NOT_BOTH.format("image or images"),
        "image",
    ),
    "subject_reference, images in extra_body": (
        in_json(GENERATIONS, subject_reference=REFERENCE, extra_body={"images": IMAGES}),
        NOT_BOTH.format("images or subject_reference"),
        "images",
    ),
    "two within extra_body": (
        in_json(GENERATIONS, extra_body={"image": URL, "subject_reference": REFERENCE}),
        NOT_BOTH.format("image or subject_reference"),
        "image",
    ),
    "two in an array": (in_json(GENERATIONS, image=[URL, DATA]), ONE.format(2), "image"),
    "three in an array, in extra_body": (in_json(EDITS, extra_body={"image": [URL] * 3}), ONE.format(3), "image"),
    "two in an object": (in_json(EDITS, image={"url": URL, "image_url": URL}), ONE.format(2), "image"),
    "a form, image and subject_reference": (
        in_form(image=URL, subject_reference=REFERENCE),
        NOT_BOTH.format("image or subject_reference"),
        "image",
    ),
    "a form, image and images": (
        in_form(image=URL, images=IMAGES),
        NOT_BOTH.format("image or images"),
        "image",
    ),
    "a form, image and extra_body": (
        in_form(image=DATA, extra_body={"subject_reference": REFERENCE}),
        NOT_BOTH.format("image or subject_reference"),
        "image",
    ),
    "a form, a file and extra_body's image": (
        in_form(a_file, extra_body={"image": URL}),
        NOT_BOTH.format("a file or extra_body.image"),
        "image",
    ),
    "a form, image twice": (in_pairs(("image", URL), ("image", URL)), ONE.format(2), "image"),
    "a form, image[] twice": (in_form(image=[URL, DATA]), ONE.format(2), "image"),
    "a form, image and image[]": (in_pairs(("image", URL), ("image[]", URL)), ONE.format(2), "image"),
    "a form, image and image[url]": (in_pairs(("image", URL), ("image[url]", URL)), ONE.format(2), "image"),
    "a form, image[url] and image[image_url]": (
        in_pairs(("image[url]", URL), ("image[image_url]", URL)),
        ONE.format(2),
        "image",
    ),
    "a form, a file and image": (in_form(a_file, image=URL), ONE.format(2), "image"),
    "a form, two files and image": (in_form(a_file, a_file, image=URL), ONE.format(3), "image"),
    "a form, a file and image[url]": (in_form(a_file, image={"url": URL}), ONE.format(2), "image"),
    "a form, two as JSON": (in_form(image=json.dumps([URL, URL])), ONE.format(2), "image"),
}


@pytest.mark.parametrize(("post", "message", "param"), SEVERAL.values(), ids=SEVERAL)
def test_more_than_one_reference_is_rejected_in_any_spellings(
    client: FlaskClient, upstream: FakeMinimax, post: Post, message: str, param: str
) -> None:
    check_rejected(post(client), upstream, message, param)


IMAGE_FIELDS: list[Any] = [DATA, {"url": DATA}, {"image_url": DATA}, {"url": None, "image_url": DATA}]
IMAGE_FIELDS += [[image] for image in IMAGE_FIELDS]


@pytest.mark.parametrize("image", IMAGE_FIELDS, ids=lambda image: repr(image)[:40])
@pytest.mark.parametrize("path", [GENERATIONS, EDITS])
def test_image_in_json_is_the_reference(client: FlaskClient, upstream: FakeMinimax, path: str, image: Any) -> None:
    as_url = json.loads(json.dumps(image).replace(DATA, URL))
    for fields in ({"image": image}, {"extra_body": {"image": image}}, {"image": image, "extra_body": {"image": URL}}):
        check_sent(client.post(path, json=BASE | fields), upstream, DATA)
        upstream.received.clear()
    nothing: dict[str, Any] = {"images": [], "subject_reference": None, "mask": None}
    check_sent(client.post(path, json=BASE | nothing | {"image": as_url}), upstream, URL)
    upstream.received.clear()
    check_sent(client.post(path, json=BASE | {"image": None, "subject_reference": REFERENCE}), upstream, DATA)


@pytest.mark.parametrize("reference", [URL, DATA, f" {DATA}\n", DATA.replace("/", "%2F")], ids=lambda text: text[:40])
@pytest.mark.parametrize("name", ["image", "image[]", "image[0]", "image[7]", "image[url]", "image[][image_url]"])
def test_image_as_form_text_is_the_reference(
    client: FlaskClient, upstream: FakeMinimax, name: str, reference: str
) -> None:
    clean = URL if reference == URL else DATA
    check_sent(post_parts(client, *BASE.items(), (name, reference)), upstream, clean)
    upstream.received.clear()
    inside = "".join(f"[{key}]" for key in name.replace("]", "").split("["))
    check_sent(post_parts(client, *BASE.items(), (f"extra_body{inside}", reference)), upstream, clean)


@pytest.mark.parametrize("image", [URL, {"url": URL}, [{"image_url": URL}], None], ids=repr)
def test_image_as_json_in_a_form(client: FlaskClient, upstream: FakeMinimax, image: Any) -> None:
    if image is None:  # openai-node's advice for null in a form
        check_sent(in_form(a_file, image="null")(client), upstream, DATA)
    else:
        text = image if isinstance(image, str) else json.dumps(image)
        check_sent(in_form(image=text)(client), upstream, URL)
        upstream.received.clear()
        check_sent(in_form(extra_body=json.dumps({"image": image}))(client), upstream, URL)


def test_other_members_of_image_are_listed_as_ignored(client: FlaskClient, upstream: FakeMinimax) -> None:
    got = client.post(GENERATIONS, json=BASE | {"image": {"url": URL, "detail": "high", "file_id": None}})
    assert (got.status_code, got.headers["x-amux-ignored"]) == (200, "image.detail")
    assert sent(upstream) == [PLAIN | {"subject_reference": as_reference(URL)}]


NO_IMAGE = 'image must be a URL, a data URL, an object {"url"} or {"image_url"}, or an array of one of these.'
SHAPES: list[Any] = ["", 0, 1, 2.5, True, False, [], {}, [[]], [[URL]], [None], [""], [1], {"a": 1}, {"url": ""}]
SHAPES += [{"url": 1}, {"url": [URL]}, {"url": {"url": URL}}, {"image_url": {"url": URL}}, [{"file_id": "f"}]]


@pytest.mark.parametrize("image", SHAPES, ids=repr)
@pytest.mark.parametrize("path", [GENERATIONS, EDITS])
def test_an_image_of_another_shape_is_rejected(
    client: FlaskClient, upstream: FakeMinimax, path: str, image: Any
) -> None:
    check_rejected(client.post(path, json=BASE | {"image": image}), upstream, NO_IMAGE, "image")
    check_rejected(client.post(path, json=BASE | {"extra_body": {"image": image}}), upstream, NO_IMAGE, "image")


TEXTS = [(bad, fault) for bad, fault in BAD_IMAGE_FILES if isinstance(bad, str) and bad]


@pytest.mark.parametrize(("image", "fault"), TEXTS, ids=lambda value: repr(value)[:40])
def test_image_as_form_text_must_be_a_url_or_a_data_url(
    client: FlaskClient, upstream: FakeMinimax, image: str, fault: str
) -> None:
    for path in (GENERATIONS, EDITS):
        check_rejected(client.post(path, json=BASE | {"image": image}), upstream, f"image {fault}.", "image")
    check_rejected(in_form(image=image)(client), upstream, f"image {fault}.", "image")


NAMELESS = ["image/jpeg", "image/png", "image/webp", "IMAGE/JPEG", "image/jpeg; charset=binary", "image/*", "image/"]


@pytest.mark.parametrize("part", ["image", "image[]", "image[0]"])
@pytest.mark.parametrize("declared", NAMELESS)
@pytest.mark.parametrize(("image", "kind"), [(JPEG, "image/jpeg"), (PNG, "image/png")], ids=["jpeg", "png"])
def test_a_part_without_a_file_name_is_a_file_if_it_declares_an_image_type(
    client: FlaskClient, upstream: FakeMinimax, image: bytes, kind: str, declared: str, part: str
) -> None:
    got = post_form(client, BASE, a_file(image, part=part, name=None, mime_type=declared))
    check_sent(got, upstream, data_url(image, kind))


def test_a_file_without_a_name_is_checked_as_a_file(client: FlaskClient, upstream: FakeMinimax) -> None:
    nameless = a_file(name=None)
    check_rejected(post_form(client, BASE, nameless, a_file()), upstream, ONE.format(2), "image")
    check_rejected(post_form(client, BASE | {"image": URL}, nameless), upstream, ONE.format(2), "image")
    for image in (WEBP, GIF, DATA.encode(), URL.encode()):
        got = post_form(client, BASE, a_file(image, name=None))
        check_rejected(got, upstream, "image must be a JPEG or PNG image.", "image")
    large = a_file(JPEG.ljust(10 * MB, b"\0"), name=None)
    check_rejected(post_form(client, BASE, large), upstream, "image must be smaller than 10 MB.", "image")
    mask = a_file(part="mask", name=None)
    message = "mask is not supported: MiniMax redraws a character, it does not inpaint."
    check_rejected(post_form(client, BASE, a_file(), mask), upstream, message, "mask")
    largest = JPEG.ljust(10 * MB - 1, b"\0")
    check_sent(post_form(client, BASE, a_file(largest, name=None)), upstream, data_url(largest))


NO_FILE_NAME = (
    "image is not valid text. If it is a file, its part needs a file name (filename in Content-Disposition), "
    "or a Content-Type of image/…."
)


@pytest.mark.parametrize("part", ["image", "image[]", "image[1]"])
@pytest.mark.parametrize("declared", [None, "", "application/octet-stream", "text/plain", "imagejpeg", "x/image/png"])
@pytest.mark.parametrize("image", [JPEG, PNG, WEBP, b"\xff"], ids=["jpeg", "png", "webp", "a byte"])
def test_any_other_binary_part_without_a_file_name_is_rejected(
    client: FlaskClient, upstream: FakeMinimax, image: bytes, declared: str | None, part: str
) -> None:
    got = post_form(client, BASE, a_file(image, part=part, name=None, mime_type=declared))
    check_rejected(got, upstream, NO_FILE_NAME, "image")


@pytest.mark.parametrize("declared", [None, "text/plain", "text/plain; charset=utf-8", "application/octet-stream"])
def test_a_part_without_a_file_name_that_is_a_url_is_the_reference(
    client: FlaskClient, upstream: FakeMinimax, declared: str | None
) -> None:
    check_sent(post_form(client, BASE, a_file(URL.encode(), name=None, mime_type=declared)), upstream, URL)
