"""The schemas of requests accept and reject what the gateway does: the tables of tests/contract."""

from __future__ import annotations

import json

import pytest

from app.schemas.image_request_schema import EDITS, GENERATIONS, ImageRequestSchema, ReferenceSchema
from app.schemas.normalization import ALIASES
from app.settings import Settings
from tests.conftest import MakeClient
from tests.contract import test_fields, test_rejected_fields
from tests.contract.test_rejected_fields import Row
from tests.docs.test_api import FIELDS
from tests.support.openapi import Document
from tests.support.request_encodings import BASE

SCHEMA = {"$ref": "#/components/schemas/ImageRequest"}


@pytest.mark.parametrize("row", test_fields.ROWS, ids=str)
def test_a_request_that_is_accepted_is_valid(document: Document, row: test_fields.Row) -> None:
    assert document.faults(SCHEMA, BASE | row.fields) == []


# What JSON schema does not say here: 1.0 is an integer to it, lone surrogates are text, rules that join fields, members
# of extra_body, and which models are served.
NOT_SAID = ("mean the same and differ", "is required with", "is unknown; served here", "must be a string of valid")


def is_said(row: Row) -> bool:
    unsaid = any(words in row.fault for words in NOT_SAID) and not _is_of_another_type(row)
    whole_numbers = any(type(value) is float and value.is_integer() for value in row.fields.values())
    return not (unsaid or whole_numbers or ("extra_body" in row.fields and row.param != "extra_body"))


def _is_of_another_type(row: Row) -> bool:
    return row.fault.startswith("must be a string") and not isinstance(row.fields[row.param], str)


REJECTED = [*test_rejected_fields.ROWS, *test_rejected_fields.JSON_ROWS]


@pytest.mark.parametrize("row", [row for row in REJECTED if is_said(row)], ids=str)
def test_a_request_that_is_rejected_is_not_valid(document: Document, row: Row) -> None:
    assert document.faults(SCHEMA, row.body) != []


def test_most_rules_are_said() -> None:
    assert sum(map(is_said, REJECTED)) > 0.8 * len(REJECTED)


@pytest.mark.parametrize("name", ["ImageRequest", "ImageForm"])
def test_every_field_is_in_the_schema(document: Document, name: str) -> None:
    """And every documented one, under each of its names."""
    properties = document.spec["components"]["schemas"][name]["properties"]
    assert set(properties) == {*ImageRequestSchema._declared_fields, *ALIASES, *FIELDS}
    assert all(described["description"] for described in properties.values())


RULES = {
    "prompt": "1 to 1500 characters.",
    "n": "1 to 9. Default: `1`.",
    "aspect_ratio": "One of `1:1`, `16:9`, `4:3`, `3:2`, `2:3`, `3:4`, `9:16`, `21:9`.",
    "response_format": "One of `url`, `b64_json`, `base64`.",
    "seed": "A signed 64-bit integer.",
    "style_type": "One of `漫画`, `元气`, `中世纪`, `水彩`.",
    "style_weight": "Above 0, up to 1.",
    "partial_images": "0 to 3.",
}


@pytest.mark.parametrize("name", ["ImageRequest", "ImageForm"])
def test_the_description_of_a_field_ends_with_its_rule(document: Document, name: str) -> None:
    """Viewers show the schema of a form by its descriptions alone."""
    properties = document.spec["components"]["schemas"][name]["properties"]
    for field, rule in RULES.items():
        assert properties[field]["description"].endswith(f" {rule}"), field


def test_the_fields_of_a_reference_are_in_its_schema(document: Document) -> None:
    assert set(document.spec["components"]["schemas"]["Reference"]["properties"]) == set(
        ReferenceSchema._declared_fields
    )


@pytest.mark.parametrize("endpoint", [GENERATIONS, EDITS], ids=["generations", "edits"])
def test_the_required_fields_are_those_of_the_schema(document: Document, endpoint: object) -> None:
    schema = ImageRequestSchema(Settings(), endpoint)  # type: ignore[arg-type]
    required = [name for name, field in schema.fields.items() if field.required]
    assert document.spec["components"]["schemas"]["ImageRequest"]["required"] == required


def test_dimensions_have_their_rule_where_they_are_forwarded(make_client: MakeClient) -> None:
    document = Document(make_client(forward_dimensions=True).get("/openapi.json").get_json())
    for side, is_valid in ((512, True), (2048, True), (504, False), (2056, False), (513, False)):
        faults = document.faults(SCHEMA, BASE | {"width": side, "height": side})
        assert (faults == []) is is_valid, side
    width = document.spec["components"]["schemas"]["ImageForm"]["properties"]["width"]
    assert width["description"].endswith(" 512 to 2048, a multiple of 8.")


def test_a_file_is_the_image_of_a_form(document: Document) -> None:
    image = document.spec["components"]["schemas"]["ImageForm"]["properties"]["image"]
    assert (image["type"], image["format"]) == ("string", "binary")
    assert "null" not in json.dumps(document.spec["components"]["schemas"]["ImageForm"]["properties"]["n"])
