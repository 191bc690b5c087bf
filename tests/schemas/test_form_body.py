"""Form field names with brackets become objects and arrays."""

from __future__ import annotations

from typing import Any

import pytest

from app.errors import InvalidRequest
from app.schemas.form_body import decode_form

Pairs = list[tuple[str, str]]


def decode(pairs: Pairs) -> dict[str, Any]:
    return decode_form(pairs, [])


ROWS: list[tuple[Pairs, dict[str, Any]]] = [
    ([], {}),
    ([("a", "1"), ("b", "x")], {"a": "1", "b": "x"}),
    ([("a", ""), ("b[]", ""), ("c[d]", "")], {}),
    ([("a[]", "1")], {"a": ["1"]}),
    ([("a[]", "1"), ("a[]", "2"), ("a[]", "")], {"a": ["1", "2"]}),
    ([("a[1]", "y"), ("a[0]", "x")], {"a": ["x", "y"]}),
    ([("a[10]", "z"), ("a[9]", "y")], {"a": ["y", "z"]}),
    ([("a[b]", "1"), ("a[c]", "2")], {"a": {"b": "1", "c": "2"}}),
    ([("a[b]", "1"), ("a[0]", "2")], {"a": {"b": "1", "0": "2"}}),
    ([("a[²]", "1")], {"a": {"²": "1"}}),
    ([("a[٣]", "1")], {"a": {"٣": "1"}}),
    ([("a[][b]", "1"), ("a[][c]", "2")], {"a": [{"b": "1", "c": "2"}]}),
    ([("a[][b]", "1"), ("a[][b]", "2")], {"a": [{"b": "1"}, {"b": "2"}]}),
    ([("a[][b][]", "1"), ("a[][b][]", "2")], {"a": [{"b": ["1", "2"]}]}),
    ([("a[][c]", "1"), ("a[][b][]", "2"), ("a[][b][]", "3")], {"a": [{"c": "1", "b": ["2", "3"]}]}),
    ([("a[][b]", "1"), ("a[][b]", "2"), ("a[][c]", "3")], {"a": [{"b": "1"}, {"b": "2", "c": "3"}]}),
    ([("a[][]", "1"), ("a[][]", "2")], {"a": [["1", "2"]]}),
    ([("a[b", "1"), ("a]", "2"), ("[a]", "3"), ("a[b]c", "4")], {"a[b": "1", "a]": "2", "[a]": "3", "a[b]c": "4"}),
    ([("style", '{"a": 1}')], {"style": {"a": 1}}),
    ([("style", " [1]")], {"style": [1]}),
    ([("style", "null")], {"style": None}),
    ([("style", "vivid")], {"style": "vivid"}),
    ([("style", '{"0": 1}')], {"style": {"0": 1}}),
    ([("extra_body[style]", '{"a": 1}')], {"extra_body": {"style": {"a": 1}}}),
    ([("prompt", '{"a": 1}')], {"prompt": '{"a": 1}'}),
    ([("prompt", "null")], {"prompt": "null"}),
]


@pytest.mark.parametrize(("pairs", "body"), ROWS, ids=str)
def test_names_with_brackets_are_objects_and_arrays(pairs: Pairs, body: dict[str, Any]) -> None:
    assert decode(pairs) == body


IMAGES: list[tuple[Pairs, Any]] = [
    ([("image", "u")], "u"),
    ([("image[]", "u")], "u"),
    ([("image[0]", "u"), ("image", "")], "u"),
    ([("image", "null")], None),
    ([("image", "null"), ("image", "u")], "u"),
    ([("image[url]", "u")], {"url": "u"}),
    ([("image[][image_url]", "u")], [{"image_url": "u"}]),
    ([("image", '{"url": "u"}')], {"url": "u"}),
    ([("image[]", '["u"]')], ["u"]),
]


@pytest.mark.parametrize(("pairs", "image"), IMAGES, ids=str)
def test_an_image_may_be_text_under_any_of_its_names(pairs: Pairs, image: Any) -> None:
    assert decode([*pairs, ("a", "1")]) == {"a": "1"} | ({} if image is None else {"image": image})


TWICE: list[Pairs] = [
    [("a", "1"), ("a", "1")],
    [("a", "1"), ("a[]", "1")],
    [("a[]", "1"), ("a", "1")],
    [("a[b]", "1"), ("a[b]", "1")],
    [("a[0]", "1"), ("a[0]", "1")],
    [("a[0]", "1"), ("a[0][b]", "1")],
    [("style", "{}"), ("style[a]", "1")],
    [("style[a]", "1"), ("style", "{}")],
    [("images", "[]"), ("images[]", "1")],
]


@pytest.mark.parametrize("pairs", TWICE, ids=str)
def test_a_field_given_twice_is_rejected(pairs: Pairs) -> None:
    with pytest.raises(InvalidRequest, match="twice"):
        decode(pairs)
