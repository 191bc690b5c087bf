"""Parts of a multipart body: which are files, and where long texts are kept."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidRequest
from app.schemas.form_body import FilePart
from app.spooling.json_reader import LARGE_BYTES
from app.spooling.spool import Spool
from app.spooling.spooled_text import SpooledText
from app.web.multipart import Form, read_multipart
from tests.support.images import JPEG
from tests.support.request_encodings import BOUNDARY, File, Part, a_file, multipart

LONG = "a/+= \t\r\n\f'" * (LARGE_BYTES // 5)


class Spools:
    """Makes spools, and closes them at the end of a test."""

    def __init__(self) -> None:
        self.made: list[Spool] = []

    def new(self) -> Spool:
        self.made.append(Spool())
        return self.made[-1]

    def close(self) -> None:
        for spool in self.made:
            spool.close()

    def read(self, *parts: Part) -> Form:
        return read_multipart(BytesIO(multipart(*parts)), BOUNDARY, self.new, None)


@pytest.fixture
def spools() -> Iterator[Spools]:
    spools = Spools()
    yield spools
    spools.close()


def content(file: FilePart) -> bytes:
    return file.content.read(0, file.content.size)


TEXTS = {
    "long": (LONG, True),
    "long, in another order": (LONG[::-1], True),
    "just long": ("a" * LARGE_BYTES, True),
    "just not": ("a" * (LARGE_BYTES - 1), False),
    "short": ("a", False),
    "empty": ("", False),
    "a quote at the end": (LONG + '"', False),
    "a backslash at the start": ("\\" + LONG, False),
    "not ASCII": (LONG + "水彩" * 10, False),
    "NUL": (LONG + "\0", False),
    "vertical tab": (LONG + "\v", False),
}


@pytest.mark.parametrize(("text", "spooled"), TEXTS.values(), ids=TEXTS)
def test_a_long_plain_text_stays_in_a_spool(spools: Spools, text: str, spooled: bool) -> None:
    fields, files = spools.read(("a", "1"), ("b", text), ("c", LONG), ("d", "2"))
    assert [(name, str(value)) for name, value in fields] == [("a", "1"), ("b", text), ("c", LONG), ("d", "2")]
    assert [isinstance(value, SpooledText) for _, value in fields] == [False, spooled, True, False]
    assert files == []
    assert len(spools.made) == 1  # one for all texts: a spool costs a file descriptor


def test_a_long_text_that_is_not_utf_8_has_replacements(spools: Spools) -> None:
    [(_, value)], _ = spools.read(("a", LONG.encode() + b"\xff"))
    assert value == LONG + "\ufffd"


def test_a_part_is_a_file_by_its_file_name_or_its_type(spools: Spools) -> None:
    parts = [
        a_file(part="with both"),
        a_file(part="with a type only", name=None),
        a_file(part="with a name only", mime_type=None),
        a_file(part="with an empty name", name="", mime_type=None),
        a_file(b"x", part="text", name=None, mime_type="text/plain"),
    ]
    fields, files = spools.read(*parts)
    assert fields == [("text", "x")]
    assert [(file.name, file.filename, content(file)) for file in files] == [
        ("with both", "face.jpg", JPEG),
        ("with a type only", "", JPEG),
        ("with a name only", "face.jpg", JPEG),
        ("with an empty name", "", JPEG),
    ]


@pytest.mark.parametrize("charset", ["iso-8859-1", "ISO-8859-1", "us-ascii", "utf-8", "utf-16", "x"])
def test_a_declared_charset_is_used_if_it_is_a_common_one(spools: Spools, charset: str) -> None:
    part: Part = ("a", File("é".encode(), None, f"text/plain; charset={charset}"))
    [(_, value)], _ = spools.read(part)
    assert value == {"iso-8859-1": "Ã©", "us-ascii": "\ufffd\ufffd"}.get(charset.lower(), "é")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b[]", "水彩"]),
            st.binary(max_size=200).map(lambda value: File(value, "x", None))
            | st.text(st.characters(codec="utf-8"), max_size=200),
        ),
        max_size=5,
    ),
    st.integers(1, 50),
)
def test_any_parts_are_read_intact_in_pieces_of_any_size(parts: list[tuple[str, File | str]], size: int) -> None:
    class Slow(BytesIO):
        def read(self, _: int | None = -1, /) -> bytes:
            return super().read(size)

    spools = Spools()
    try:
        fields, files = read_multipart(Slow(multipart(*parts)), BOUNDARY, spools.new, None)
        assert fields == [(name, value) for name, value in parts if isinstance(value, str)]
        sent = [(name, value.content) for name, value in parts if isinstance(value, File)]
        assert [(file.name, content(file)) for file in files] == sent
    finally:
        spools.close()


@pytest.mark.parametrize("boundary", ["", "other", "é"])
def test_a_body_without_its_boundary_is_rejected(spools: Spools, boundary: str) -> None:
    with pytest.raises(InvalidRequest, match="broken or cut short"):
        read_multipart(BytesIO(multipart(("a", "1"))), boundary, spools.new, None)
