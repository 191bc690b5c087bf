"""Reference images, beyond the tables that tests/contract/test_references.py walks."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.sandbox.rules import decode_data_url
from app.schemas.reference_image import (
    MAX_IMAGE_BYTES,
    InvalidReferenceImage,
    ValidatedDataUrl,
    check_reference,
    data_url_of_file,
)
from app.spooling.spool import CHUNK_BYTES, Spool
from app.spooling.spooled_text import SpooledText
from tests.support.images import JPEG, PNG, WEBP, data_url

MAGIC = st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"])


def url_of_file(image: bytes) -> str:
    """The data URL of an upload, as it is sent."""
    spool = Spool()
    spool.write(image)
    try:
        text = data_url_of_file(spool)
        assert len(str(text)) == len(text)
        return str(text)
    finally:
        spool.close()


@given(magic=MAGIC, rest=st.binary())
def test_a_file_is_encoded_into_a_data_url_unchanged(magic: bytes, rest: bytes) -> None:
    assert decode_data_url(url_of_file(magic + rest)) == magic + rest


@given(
    magic=MAGIC,
    rest=st.binary(),
    mime_type=st.sampled_from(["", "image/jpeg", "image/png", "image/webp", "a/b;c=d", "text/plain"]),
)
def test_a_data_url_gets_its_true_type(magic: bytes, rest: bytes, mime_type: str) -> None:
    checked = check_reference(data_url(magic + rest, mime_type))
    assert checked == url_of_file(magic + rest)
    assert check_reference(checked) == checked


@given(st.text() | st.text().map("https://{}".format) | st.text().map("data:image/png;base64,{}".format))
def test_any_other_text_is_rejected_or_unchanged(text: str) -> None:
    try:
        checked = check_reference(text)
    except InvalidReferenceImage:
        return
    assert checked == text
    assert text.lower().startswith(("http://", "https://"))


def test_checked_bytes_are_not_checked_again() -> None:
    """A file of any size is decoded once."""
    unchecked = ValidatedDataUrl("data:image/jpeg;base64,%")
    assert check_reference(unchecked) is unchecked


@pytest.mark.parametrize(("image", "head"), [(JPEG, "data:image/jpeg;base64,"), (PNG, "data:image/png;base64,")])
def test_the_type_is_that_of_the_first_bytes(image: bytes, head: str) -> None:
    assert url_of_file(image).startswith(head)


def test_the_error_names_the_accepted_types() -> None:
    with pytest.raises(InvalidReferenceImage, match="JPEG or PNG"):
        url_of_file(WEBP)


# Large data URLs: the same rules, applied to a spool in chunks.

InSpool = Callable[[str], SpooledText]


@pytest.fixture
def in_spool() -> Iterator[InSpool]:
    spool = Spool()

    def write(text: str) -> SpooledText:
        spool.write(b"before it")
        start = spool.size
        spool.write(text.encode("ascii"))
        found = SpooledText(spool, start, len(text))
        spool.write(b"behind it")
        return found

    yield write
    spool.close()


def image_of(size: int) -> bytes:
    return JPEG + bytes(range(256)) * ((size - len(JPEG)) // 256) + b"x" * ((size - len(JPEG)) % 256)


LARGE = image_of(1_000_000)
PADDED = {padding: image_of(3 * CHUNK_BYTES - padding) for padding in (0, 1, 2)}
# Sizes around the end of a chunk. Chunks start after the head, which may have any length.
SIZES = [CHUNK_BYTES // 4 * 3 + around for around in (-3, -2, -1, 0, 1, 2, 3)] + [100_000, 1_000_000]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("declared", ["image/jpeg", "image/png", "text/plain", "a/b;charset=c", ""])
def test_a_large_data_url_gets_its_true_type_and_keeps_its_base64(in_spool: InSpool, size: int, declared: str) -> None:
    checked = check_reference(in_spool(data_url(image_of(size), declared)))
    assert isinstance(checked, SpooledText)
    assert str(checked) == url_of_file(image_of(size)) == data_url(image_of(size))
    assert len(checked) == len(str(checked))


@given(st.data())
def test_a_large_data_url_has_the_same_outcome_as_a_small_one(data: st.DataObject) -> None:
    """A data URL with one change has the same result or error message, whether it is spooled or not."""
    encoded = base64.b64encode(JPEG + data.draw(st.binary(max_size=20))).decode()
    at = data.draw(st.integers(0, len(encoded)))
    spoilt = data.draw(st.sampled_from(["", "=", "==", "%", " ", "\n", "-", "%2", "%3D", "%0A", "#", "AAA", "AAAA"]))
    text = f"data:image/png;base64,{encoded[:at]}{spoilt}{encoded[at + data.draw(st.integers(0, 3)) :]}"
    spool = Spool()
    spool.write(text.encode())
    outcomes = []
    for reference in (text, SpooledText(spool, 0, len(text))):
        try:
            outcomes.append(str(check_reference(reference)))
        except InvalidReferenceImage as error:
            outcomes.append(str(error))
    spool.close()
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("padding", PADDED)
def test_padding_is_complete_or_left_out(in_spool: InSpool, padding: int) -> None:
    good = data_url(PADDED[padding])
    assert good.endswith("=" * padding)
    assert str(check_reference(in_spool(good))) == good
    bare = good.rstrip("=")
    assert str(check_reference(in_spool(bare))) == good
    some_is_missing = [good[:-1]] if padding == 2 else []
    one_too_many = bare + "A" * (1 + padding)
    for bad in (good + "=", one_too_many, *some_is_missing, good + "====", good + "A===", good.replace(",", ",=")):
        with pytest.raises(InvalidReferenceImage, match="holds invalid base64"):
            check_reference(in_spool(bad))


@pytest.mark.parametrize("at", [0, 3, CHUNK_BYTES - 1, CHUNK_BYTES, 2 * CHUNK_BYTES + 1, -1, -5])
@pytest.mark.parametrize("character", ["%", "*", "-", "_", "~"])
def test_invalid_base64_is_found_at_any_position(in_spool: InSpool, at: int, character: str) -> None:
    encoded = base64.b64encode(LARGE).decode()
    at %= len(encoded)
    with pytest.raises(InvalidReferenceImage, match="holds invalid base64"):
        check_reference(in_spool(f"data:image/jpeg;base64,{encoded[:at]}{character}{encoded[at + 1 :]}"))


@pytest.mark.parametrize("kind", [WEBP, b"GIF89a", b"%PDF-1.7", b"\0" * 16])
def test_another_type_is_rejected_under_any_declared_type(in_spool: InSpool, kind: bytes) -> None:
    with pytest.raises(InvalidReferenceImage, match="must be a JPEG or PNG image"):
        check_reference(in_spool(data_url(kind + LARGE, "image/jpeg")))


@pytest.mark.parametrize(
    "head", ["", "data:", "data:image/jpeg,", "data:image/jpeg;base64", "https://a/", "data:;base64;,"]
)
def test_a_large_text_that_is_not_a_data_url_is_rejected(in_spool: InSpool, head: str) -> None:
    with pytest.raises(InvalidReferenceImage, match="data URL"):
        check_reference(in_spool(head + "a" * 100_000))


def test_images_must_be_smaller_than_ten_megabytes(in_spool: InSpool) -> None:
    largest = image_of(MAX_IMAGE_BYTES - 1)
    assert len(check_reference(in_spool(data_url(largest)))) == len(url_of_file(largest))
    for make in (lambda image: check_reference(in_spool(data_url(image))), url_of_file):
        with pytest.raises(InvalidReferenceImage, match="must be smaller than 10 MB"):
            make(image_of(MAX_IMAGE_BYTES))
