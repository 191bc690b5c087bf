"""Reference images, beyond the tables that tests/test_references.py walks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.sandbox.rules import decode_data_url
from app.services.reference_image import DataUrl, InvalidReferenceImage, check_reference, data_url_of_file
from app.streaming.spool import Spool
from tests.support.pictures import JPEG, PNG, WEBP, data_url

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
def test_a_file_survives_its_way_into_a_data_url(magic: bytes, rest: bytes) -> None:
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
def test_any_other_text_is_refused_or_left_as_it_is(text: str) -> None:
    try:
        checked = check_reference(text)
    except InvalidReferenceImage:
        return
    assert checked == text
    assert text.lower().startswith(("http://", "https://"))


def test_checked_bytes_are_not_checked_again() -> None:
    """A file is decoded once, however large it is."""
    unchecked = DataUrl("data:image/jpeg;base64,%")
    assert check_reference(unchecked) is unchecked


@pytest.mark.parametrize(("image", "head"), [(JPEG, "data:image/jpeg;base64,"), (PNG, "data:image/png;base64,")])
def test_the_type_is_that_of_the_first_bytes(image: bytes, head: str) -> None:
    assert url_of_file(image).startswith(head)


def test_the_refusal_names_what_is_taken() -> None:
    with pytest.raises(InvalidReferenceImage, match="JPEG or PNG"):
        url_of_file(WEBP)
