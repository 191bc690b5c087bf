"""JSON in pieces of any size is read as `json.loads` reads it whole, and long plain strings are spooled."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import event, example, given, settings, target
from hypothesis import strategies as st

from app.spooling import json_reader
from app.spooling.json_reader import LARGE_BYTES, JsonReader
from app.spooling.spool import Spool
from app.spooling.spooled_text import BASE64_ALPHABET, WHITE_SPACE, SpooledText

SMALL = 8  # a threshold in bytes that hypothesis reaches
PLAIN = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E, exclude_characters='"\\'), max_size=40)
TRICKY = st.text(st.sampled_from('ab/"\\\b\n\t\x00\x7f\u2028é水🦦\ud800'), max_size=40)
WRAPPED = st.text(st.sampled_from("abc/=\n\r\t\f "), max_size=40)
TEXTS = PLAIN | TRICKY | WRAPPED | st.text(max_size=40)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
DOCUMENTS = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@contextmanager
def spooling_from(size: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_reader, "LARGE_BYTES", size)
        yield


@contextmanager
def read(pieces: Iterable[bytes]) -> Iterator[Any]:
    """The document, with its spooled texts."""
    spool = Spool()
    try:
        reader = JsonReader(spool)
        for piece in pieces:
            reader.feed(piece)
        yield reader.read(json.loads)
    finally:
        spool.close()


def cut(text: bytes, *places: int) -> list[bytes]:
    edges = [0, *sorted({place % (len(text) + 1) for place in places}), len(text)]
    return [text[a:b] for a, b in pairwise(edges)]


def every(size: int, text: bytes) -> list[bytes]:
    return cut(text, *range(0, len(text), size))


def spelled(value: Any) -> Any:
    """The document with ordinary strings only."""
    if isinstance(value, SpooledText):
        assert len(value) == len(str(value))
        return str(value)
    if isinstance(value, list):
        return [spelled(item) for item in value]
    return {key: spelled(item) for key, item in value.items()} if isinstance(value, dict) else value


def outside_base64(text: str) -> bytes | None:
    outside = text.encode().translate(None, BASE64_ALPHABET)
    return outside if len(outside) <= json_reader.MAX_OUTSIDE_BASE64 else None


def long_texts(value: Any) -> list[SpooledText]:
    if isinstance(value, SpooledText):
        return [value]
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for member in members for text in long_texts(member)]


@given(
    document=DOCUMENTS,
    places=st.lists(st.integers(0, 2000), max_size=12),
    ascii_only=st.booleans(),
    slashes=st.booleans(),
    indent=st.sampled_from([None, 1]),
)
@example(document=["/" * 40], places=[3, 4, 20, 21, 22], ascii_only=True, slashes=True, indent=None)
@settings(max_examples=400)
def test_any_document_in_any_pieces_reads_the_same(
    document: Any, places: list[int], ascii_only: bool, slashes: bool, indent: int | None
) -> None:
    text = json.dumps(document, ensure_ascii=ascii_only, indent=indent)
    if slashes:
        text = text.replace("/", "\\/")
    body = text.encode("utf-8", "surrogatepass")
    # An unescaped half of a surrogate pair is not UTF-8 and must be rejected.
    try:
        expected = json.loads(body)
    except UnicodeDecodeError:
        with spooling_from(SMALL), pytest.raises(UnicodeDecodeError), read(cut(body, *places)):
            pass
        return
    with spooling_from(SMALL), read(cut(body, *places)) as got:
        found = long_texts(got)
        event(f"{min(len(found), 3)} long texts")
        target(float(len(found)))
        assert spelled(got) == expected
        for long_text in found:
            printable = str(long_text).translate(dict.fromkeys(WHITE_SPACE))
            assert printable.isascii()
            assert printable.isprintable()
            assert 2 * len(long_text) >= SMALL
            assert long_text.outside_base64 == outside_base64(str(long_text))
            spelled_in_json = b"".join(long_text.json_chunks())
            assert long_text.json_size == len(spelled_in_json)
            assert json.loads(b'"%b"' % spelled_in_json) == str(long_text)


WRAPPED = st.lists(PLAIN | st.sampled_from(["\n", "\r\n", "\t", "\f", "/", "n", "\\", "\\n", "\x0b", '"'])).map("".join)


@given(
    texts=st.lists(WRAPPED | TEXTS, max_size=4),
    places=st.lists(st.integers(0, 2000), max_size=12),
    ascii_only=st.booleans(),
    slashes=st.booleans(),
)
@example(texts=["a" * 20 + "\\n/" + "a" * 20], places=[], ascii_only=True, slashes=True)
@example(texts=["a" * 20 + "\n" + "a" * 20 + "é\n"], places=[10, 20, 30], ascii_only=False, slashes=False)
@settings(max_examples=400)
def test_escaped_white_space_is_decoded_into_the_spool(
    texts: list[str], places: list[int], ascii_only: bool, slashes: bool
) -> None:
    """A string that turns out not to be plain is taken back out of the spool unchanged."""
    text = json.dumps({"a": texts}, ensure_ascii=ascii_only)
    body = (text.replace("/", "\\/") if slashes else text).encode("utf-8", "replace")
    with spooling_from(SMALL), read(cut(body, *places)) as got:
        event(f"{min(len(long_texts(got)), 3)} long texts")
        assert spelled(got) == json.loads(body)
        assert all(set(str(text)) <= {*map(chr, range(0x20, 0x7F)), *"\n\r\t\f"} for text in long_texts(got))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("white_space", ["\n", "\r\n", "\t", "\f", "\n\r\t\f"])
def test_a_wrapped_text_stays_in_the_spool(white_space: str, size: int) -> None:
    document = {"a": white_space.join(["a" * SMALL] * 300)}
    body = json.dumps(document).encode()
    with spooling_from(SMALL), read(every(size, body)) as got:
        assert spelled(got) == document
        assert len(long_texts(got)) == 1


@pytest.mark.parametrize("raw", [b"\n", b"\t", b"\\x", b"\\n\n", b"\n\\n", b"\\", b"\\u000"])
def test_unescaped_white_space_is_invalid_json(raw: bytes) -> None:
    body = b'["' + b"a" * 50 + raw + b'"]'
    for size in (1, 7, 1000):
        with spooling_from(SMALL), pytest.raises(ValueError), read(every(size, body)):  # noqa: PT011
            pass


@given(texts=st.lists(PLAIN.map(lambda text: text + "a" * SMALL), min_size=1, max_size=5))
def test_every_long_plain_string_is_spooled(texts: list[str]) -> None:
    with spooling_from(SMALL), read(every(1, json.dumps(texts).encode())) as got:
        assert all(isinstance(text, SpooledText) for text in got)
        assert spelled(got) == texts


# Strings that end spooling, and strings that look as if they did.
CASES = {
    "plain": "a" * 50,
    "an escape at the end": "a" * 50 + '"',
    "an escape at the start": '"' + "a" * 50,
    "backslashes": "a" * 20 + "\\" * 21,
    "a late umlaut": "a" * 40 + "ü" + "b" * 40,
    "slashes": "a/" * 30,
    "lines": "aaaa\n" * 12,
    "every white space": "a\n\r\t\f b" * 10,
    "a line and a backslash": "a" * 20 + "\n" * 5 + "\\n" * 5,
    "lines and a late umlaut": "aaaa\n" * 10 + "ü" + "bbbb\n" * 10,
    "lines and a quote": "aaaa\n" * 10 + '"',
    "a backspace": "a" * 30 + "\b" + "b" * 30,
    "a control character": "a" * 30 + "\x1f" + "b" * 30,
    "DEL, which JSON need not escape": "a" * 30 + "\x7f" + "b" * 30,
    "what looks like JSON": "a" * 30 + '":{"b":[' + "c" * 30,
}


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 11, 64, 1000])
@pytest.mark.parametrize("slashes", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_long_strings_cut_at_every_place(name: str, slashes: bool, size: int) -> None:
    document = {"a": CASES[name], CASES[name]: [CASES[name], "b", CASES[name]], "c": 1}
    text = json.dumps(document)
    body = (text.replace("/", "\\/") if slashes else text).encode()
    with spooling_from(SMALL), read(every(size, body)) as got:
        assert spelled(got) == document
        if CASES[name].replace("/", "").isalpha() and CASES[name].isascii() and size <= SMALL:
            assert len(long_texts(got)) == 3  # keys are never spooled


# Invalid JSON that a lost or added byte would make valid.
BROKEN = [
    b"",
    b'"',
    b"\\",
    b'{"a": "' + b"a" * 100,
    b'{"a": "' + b"a" * 100 + b"\\",
    b'{"a": "' + b"a" * 100 + b'\\"',
    b'{"a": "' + b"a" * 100 + b'\\"}',
    b'{"a": "' + b"a" * 100 + b'"',
    b'{"a": "' + b"a" * 100 + b'" "b"}',
    b'["' + b"a" * 100 + b'\n"]',
    b'["' + b"a" * 100 + b'\\x"]',
    b'["' + b"aaaa\\n" * 20 + b'\n"]',
    b'["' + b"aaaa\n" * 20 + b'\\n"]',
    b'["' + b"a" * 100 + b'\t\\t"]',
    b'["' + b"a" * 100 + b'\\u12"]',
    b'["' + b"a" * 100 + b'\\"]',
    b'\\"["' + b"a" * 100 + b'"]',
    b"'" + b"a" * 100 + b"'",
    b'["' + b"a" * 100 + b'\xff"]',
    b'["a"]' + b'"' + b"a" * 100 + b'"',
]


@pytest.mark.parametrize("body", BROKEN)
def test_invalid_json_is_invalid_in_pieces(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (JSONDecodeError, or UnicodeDecodeError)
        json.loads(body)
    for size in (1, 7, 1000):
        with spooling_from(SMALL), pytest.raises(ValueError), read(every(size, body)):  # noqa: PT011
            pass


@given(
    st.binary(max_size=40) | st.text(st.sampled_from('"\\/ab,:[]{}1'), max_size=40).map(str.encode), st.integers(1, 9)
)
@settings(max_examples=300)
def test_any_bytes_are_valid_in_pieces_exactly_if_they_are_valid_whole(body: bytes, size: int) -> None:
    try:
        expected = json.loads(body)
    except ValueError:
        event("no JSON")
        with spooling_from(SMALL), pytest.raises(ValueError), read(every(size, body)):  # noqa: PT011
            pass
        return
    event("JSON")
    with spooling_from(SMALL), read(every(size, body)) as got:
        assert spelled(got) == expected


@pytest.mark.parametrize("around", [-2, -1, 0, 1, 2])
@pytest.mark.parametrize("chunk", [LARGE_BYTES, LARGE_BYTES - 1, 3 * LARGE_BYTES, 1000])
def test_strings_around_the_real_threshold(around: int, chunk: int) -> None:
    """Several strings of about the threshold, and one that leaves the spool again at its last character."""
    text = "ab/+" * ((LARGE_BYTES + 4) // 4)
    text = text[: LARGE_BYTES + around]
    document = {"data": {"image_base64": [text, "short", text * 3, text * 2 + "ü", text]}, "id": text + "\n"}
    with read(every(chunk, json.dumps(document).encode())) as got:
        assert spelled(got) == document
        assert len(long_texts(got)) >= 1


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\t", "\f"])
def test_base64_in_lines_goes_to_the_spool(line_break: str) -> None:
    lines = ("ab/+" * 19 + line_break) * 2000
    with read(every(1000, json.dumps({"image": lines}).encode())) as got:
        [text] = long_texts(got)
        assert str(text) == lines
        assert text.escapes == 2000 * len(line_break)
        assert text.outside_base64 is None
        rest = text.skip(77)
        assert str(rest) == lines[77:]
        assert rest.json_size == len(json.dumps(lines[77:])) - 2


@pytest.mark.parametrize("skipped", [0, 1, 22, 23, 24, 100])
def test_skipped_characters_outside_base64_are_not_counted(skipped: int) -> None:
    text = "data:image/jpeg;base64," + "ab/+" * LARGE_BYTES + "=="
    with read(every(1000, json.dumps([text]).encode())) as got:
        rest = got[0].skip(skipped)
        assert str(rest) == text[skipped:]
        assert rest.outside_base64 == outside_base64(text[skipped:])
        assert rest.tail(3) == "+=="
        assert rest.tail(10**7) == text[skipped:]


def test_spooled_strings_are_not_held_in_memory() -> None:
    """Of a document of 30 MB, some hundred bytes are left to the parser."""
    document = {"data": {"image_base64": ["ab/+" * 1024 * 1024] * 8}}
    held: list[int] = []

    def parse(body: bytes) -> Any:
        held.append(len(body))
        return json.loads(body)

    spool = Spool()
    reader = JsonReader(spool)
    for piece in every(65536, json.dumps(document).encode()):
        reader.feed(piece)
    got = reader.read(parse)
    assert held[0] < 1000
    assert [len(text) for text in got["data"]["image_base64"]] == [4 * 1024 * 1024] * 8
    spool.close()


def test_a_string_cannot_imitate_a_placeholder() -> None:
    """Each document has its own random placeholders."""
    with spooling_from(SMALL):
        spool = Spool()
        reader = JsonReader(spool)
        for piece in every(1, json.dumps(["a" * 40, f"{'0' * 32}-0", "-0"]).encode()):
            reader.feed(piece)
        raw: list[bytes] = []
        reader.read(lambda body: raw.append(body) or json.loads(body))  # type: ignore[func-returns-value]
        [marker, *_] = json.loads(raw[0])
        spool.close()
        with read(every(1, json.dumps(["b" * 40, marker]).encode())) as got:
            assert spelled(got) == ["b" * 40, marker]
