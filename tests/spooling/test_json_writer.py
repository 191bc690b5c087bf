"""A document with spooled texts is written as `json.dumps` writes it with strings, and its length is known first."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from app.spooling.json_writer import JsonBody
from app.spooling.spool import CHUNK_BYTES, Spool
from app.spooling.spooled_text import Base64Text, SpooledText, count_white_space

ANY_TEXT = st.text(max_size=20) | st.text(st.characters(exclude_categories=()), max_size=20)
PLAIN = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E, exclude_characters='"\\'), min_size=1)
PREFIXES = st.sampled_from(["", "data:image/png;base64,"])


WRAPPED = st.text(st.sampled_from("ab/+=\n\r\t\f "), min_size=1)


def new_text(spool: Spool, content: bytes, prefix: str, kind: type[SpooledText] = SpooledText) -> SpooledText:
    start = spool.size
    spool.write(content)
    escapes = 0 if kind is Base64Text else count_white_space(content)
    return kind(spool, start, len(content), prefix, escapes=escapes)


def documents(spool: Spool) -> st.SearchStrategy[Any]:
    plain = st.builds(lambda text, prefix: new_text(spool, text.encode(), prefix), PLAIN | WRAPPED, PREFIXES)
    encoded = st.builds(lambda data, prefix: new_text(spool, data, prefix, Base64Text), st.binary(min_size=1), PREFIXES)
    return st.recursive(
        plain | encoded | st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | ANY_TEXT,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
        max_leaves=10,
    )


def spelled(value: Any) -> Any:
    if isinstance(value, SpooledText):
        return str(value)
    if isinstance(value, list):
        return [spelled(item) for item in value]
    return {key: spelled(item) for key, item in value.items()} if isinstance(value, dict) else value


@given(st.data())
def test_json_and_length_match_json_dumps(data: st.DataObject) -> None:
    spool = Spool()
    try:
        document = data.draw(documents(spool).filter(lambda value: "Infinity" not in json.dumps(spelled(value))))
        body = JsonBody(document)
        first, second = b"".join(body), b"".join(body)
        assert len(body) == len(first)
        assert first == second
        assert first.decode() == json.dumps(spelled(document), separators=(",", ":"))
        event(f"large: {document != spelled(document)}")
    finally:
        spool.close()


def test_spooled_texts_are_written_in_chunks() -> None:
    spool = Spool()
    image = bytes(range(256)) * (10 * CHUNK_BYTES // 256)
    body = JsonBody({"image_file": new_text(spool, image, "data:,", Base64Text)})
    pieces = list(body)
    assert max(map(len, pieces)) <= CHUNK_BYTES * 4 // 3
    assert len(body) == sum(map(len, pieces))
    spool.close()


def test_a_string_cannot_imitate_a_placeholder() -> None:
    """The placeholders of a document are random, so no string can contain one except by chance."""
    spool = Spool()
    texts = [f"{'0' * 32}-0", "-0", "a" * 32]
    body = json.loads(b"".join(JsonBody([new_text(spool, b"large", ""), *texts])))
    assert body == ["large", *texts]
    spool.close()


def test_without_spooled_texts_a_placeholder_is_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    class Known:
        hex = "known"

    monkeypatch.setattr(uuid, "uuid4", Known)
    assert b"".join(JsonBody({"a": "known-0"})) == b'{"a":"known-0"}'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), b"bytes", object(), {1, 2}])
def test_values_that_json_does_not_have_are_rejected(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        JsonBody({"a": value})
