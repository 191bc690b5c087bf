"""docs/api.md: its curl lines run, and its tables have the same rows as the code, in both directions."""

from __future__ import annotations

import ast
import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.exceptions import RequestTimeout

from app.accounts.key_limits import RATE_LIMITS, RateLimit
from app.errors import AnswerExpired, GatewayError, IdempotencyKeyReused, ImageNotFound, TaskNotWithdrawn
from app.minimax.error_codes import STATUS_CODES, UNKNOWN_CODE, WITHOUT_CODE
from app.model_catalog import MODELS, Model
from app.objects.location import FileLocation
from app.schemas.aspect_ratio import SIZES
from app.schemas.image_request_schema import GENERATIONS as GENERATIONS_SCHEMA
from app.schemas.image_request_schema import ImageRequestSchema
from app.schemas.normalization import ALIASES
from app.server.protocol_errors import PROTOCOL_ERRORS
from app.services.payload import build_payload
from app.settings import Settings
from app.web.body_limits import MAX_BODY_BYTES
from app.web.task_headers import IDEMPOTENCY_KEY, RETRY_COUNT
from tests.conftest import MakeClient
from tests.deploy.test_nginx_words import nginx_codes
from tests.docs.markdown import blocks, names, read, rows, run_curl
from tests.support.processes import ROOT, Served
from tests.support.request_encodings import BASE, EDITS, GENERATIONS, REFERENCE

API = read("docs/api.md")
CURLS = [block for block in blocks("sh", API) if block.startswith("curl http")]
[STREAM] = [block for block in blocks("sh", API) if block.startswith("curl -N http")]
[TASK] = [block for block in blocks("sh", API) if block.startswith("TASK=")]
EDIT = "edit docs/api.md, table"
SOURCES = [path for path in (ROOT / "app").rglob("*.py") if "sandbox" not in path.parts]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing: apt-get install curl")
@pytest.mark.parametrize("block", CURLS)
def test_every_curl_line_works(block: str, served: Served) -> None:
    printed = json.loads(run_curl(block, served))
    assert all({"url", "id"} & set(item) for item in printed["data"])
    assert printed["data"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing: apt-get install curl")
def test_the_stream_of_the_example_has_an_image(served: Served) -> None:
    event, data, *_ = [line for line in run_curl(STREAM, served).splitlines() if not line.startswith(":")]
    assert event == "event: image_generation.completed"
    assert json.loads(data.removeprefix("data: "))["b64_json"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing: apt-get install curl")
def test_the_task_of_the_example_is_fetched(served: Served) -> None:
    task = json.loads(run_curl(TASK, served))
    assert (task["object"], task["status"]) == ("image.task", "completed")
    assert task["result"]["data"][0]["url"]


def test_the_curl_lines_were_found() -> None:
    assert len(CURLS) == API.count("curl http") >= 6


# Endpoints and fields


def test_the_table_of_endpoints_matches_the_routes(make_client: MakeClient, tmp_path: Path) -> None:
    client = make_client(image_store=FileLocation(tmp_path), public_url="https://images.example.com")
    documented = {name for cell, *_ in rows(API, "endpoint | body | purpose") for name in names(cell)}
    routes = {
        f"{method} {re.sub('<.*>', '{id}', rule.rule)}"
        for rule in client.application.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    stored = {"GET /v1/usage", "GET /v1/usage/requests"}  # they need a database
    assert documented == routes | stored, f"{EDIT} 'endpoint'"


FIELDS = [name for cell, *_ in rows(API, "field | default | rule") for name in names(cell)]
# Spellings that app/schemas/normalization.py resolves into fields of the schema.
RESOLVED = {"style", "image", "images", "extra_body"}
# One example of each documented field, over a request with `model` and `prompt`.
EXAMPLES: dict[str, dict[str, Any]] = {
    "model": {},
    "prompt": {},
    "n": {"n": 2},
    "size": {"size": "1024x1024"},
    "aspect_ratio": {"aspect_ratio": "1:1"},
    "response_format": {"response_format": "url"},
    "seed": {"seed": 1},
    "prompt_optimizer": {"prompt_optimizer": True},
    "watermark": {"watermark": True},
    "aigc_watermark": {"aigc_watermark": True},
    "style": {"style": {"style_type": "水彩"}},
    "style_type": {"style_type": "水彩"},
    "style_weight": {"style_type": "水彩", "style_weight": 0.5},
    "subject_reference": {"subject_reference": REFERENCE},
    "image": {"image": REFERENCE[0]["image_file"]},
    "images": {"images": [{"image_url": REFERENCE[0]["image_file"]}]},
    "width": {"width": 512, "height": 512},
    "height": {"width": 512, "height": 512},
    "extra_body": {"extra_body": {"seed": 1}},
    "stream": {"stream": False},
    "partial_images": {"partial_images": 2},
    "mask": {"mask": "a"},
}


def test_every_field_of_the_schema_is_documented() -> None:
    assert len(FIELDS) == len(set(FIELDS)), f"{EDIT} 'field': a field has two rows"
    missing = {*ImageRequestSchema._declared_fields, *ALIASES} - set(FIELDS)
    assert not missing, f"{EDIT} 'field': no row for {sorted(missing)}"


def test_every_documented_field_is_read() -> None:
    unknown = set(FIELDS) - {*ImageRequestSchema._declared_fields, *ALIASES} - RESOLVED
    assert not unknown, f"{EDIT} 'field': ImageRequestSchema does not have {sorted(unknown)}"
    assert set(FIELDS) == set(EXAMPLES), "edit EXAMPLES in tests/docs/test_api.py, or docs/api.md, table 'field'"


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_documented_field_but_partial_images_is_ignored(make_client: MakeClient, name: str) -> None:
    response = make_client(forward_dimensions=True).post(GENERATIONS, json=BASE | EXAMPLES[name])
    assert response.status_code == (400 if name == "mask" else 200), response.get_json()
    assert response.headers.get("x-amux-ignored") == ("partial_images" if name == "partial_images" else None)


# `model` and `prompt` are in every request, and walked by tests/services/test_payload.py; the others are rules alone.
NOT_COMPARED = {"model", "prompt", "stream", "partial_images", "mask"}
PAIR = {"width", "height"}  # neither is valid alone


def payload(example: dict[str, Any]) -> dict[str, Any]:
    """What MiniMax is sent for the example. No field of an example has the value that it has by default."""
    settings = Settings(("a",), "b", forward_dimensions=True, default_response_format="b64_json")
    return build_payload(ImageRequestSchema(settings, GENERATIONS_SCHEMA).read(BASE | example))


@pytest.mark.parametrize("name", sorted({*EXAMPLES} - NOT_COMPARED))
def test_every_documented_field_reaches_minimax(name: str) -> None:
    """A field of the schema that no further step reads would be dropped without a word to the caller."""
    example = EXAMPLES[name]
    others = {key: value for key, value in example.items() if key not in ({name} | PAIR)}
    assert payload(example) != payload(others), (
        f"{name} is dropped: edit app/services/image_request.py, app/schemas/image_request_builder.py "
        "or app/services/payload.py, or give it another value in EXAMPLES than its default"
    )


def test_the_table_of_sizes_matches_the_code() -> None:
    documented = [(size, ratio) for sizes, ratio in rows(API, "size | aspect ratio drawn") for size in names(sizes)]
    assert {size: names(ratio)[0] for size, ratio in documented} == SIZES, f"{EDIT} 'size'"
    assert [sizes for sizes, _ in rows(API, "size | aspect ratio drawn")][-1] == "any other", f"{EDIT} 'size'"


# Models


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
def test_every_model_is_documented(model: Model) -> None:
    section = API.split("\n## Models\n")[1].split("\n## ")[0]
    assert f"`{model.id}`" in section, f"edit docs/api.md, section 'Models': {model.id} is missing"


# Headers


def header_literals() -> Iterator[str]:
    """Every `x-…` header name in the code; one that ends with a hyphen is the beginning of an f-string."""
    for path in SOURCES:
        yield from re.findall(r"[\"'](x-[a-z-]+)[\"'{]", path.read_text())


def _begins_one_of(headers: set[str], name: str) -> bool:
    return name.endswith("-") and any(header.startswith(name) for header in headers)


def test_the_table_of_headers_matches_the_code() -> None:
    documented = {name for cell, *_ in rows(API, "header | sent with | content") for name in names(cell)}
    received = {name for cell, *_ in rows(API, "request header | effect") for name in names(cell)}
    assert {IDEMPOTENCY_KEY, RETRY_COUNT} <= received, f"{EDIT} 'request header'"
    sent = set(header_literals()) - received | {"Retry-After", "idempotent-replayed"}
    undocumented = {name for name in sent - documented if not _begins_one_of(documented, name)}
    assert not undocumented, f"{EDIT} 'header': no row for {sorted(undocumented)}"
    beginnings = tuple(name for name in sent if name.endswith("-"))
    unknown = {header for header in documented - sent if not header.startswith(beginnings)}
    assert not unknown, f"{EDIT} 'header': the gateway does not send {sorted(unknown)}"


@pytest.mark.parametrize("rate", RATE_LIMITS, ids=lambda rate: rate.name)
def test_the_headers_of_every_rate_limit_are_documented(rate: RateLimit) -> None:
    documented = {name for cell, *_ in rows(API, "header | sent with | content") for name in names(cell)}
    sent = {f"x-ratelimit-{what}-{rate.header}" for what in ("limit", "remaining", "reset")}
    assert sent <= documented, f"{EDIT} 'header': no row for {sorted(sent - documented)}"


# Errors

MINIMAX = rows(API, "MiniMax's code | meaning")
OTHERS = rows(API, "without MiniMax's code")
CALLERS = rows(API, "the caller's own, never retried")
NGINX = rows(API, "only from nginx")

# HTTP status, and whether `x-should-retry` is true.
Outcome = tuple[int, bool]


def documented(table: list[list[str]]) -> dict[str, Outcome]:
    """Status and retry by code, from the last cells of the rows."""
    return {names(row[1])[0]: (int(row[2]), row[3:] == ["yes"]) for row in table}


def gateway_errors(base: type[GatewayError] = GatewayError) -> dict[str, Outcome]:
    """Status and retry by code, of every class in `app/` that sets a code of its own."""
    own = "code" in vars(base) and base.__module__.startswith("app.")
    found = {base.code: (base.http_status, base.should_retry)} if own else {}
    for subclass in base.__subclasses__():
        found |= gateway_errors(subclass)
    return found


def code_literals() -> set[str]:
    """Every code that is written as a keyword argument: `InvalidRequest(…, code="invalid_form")`."""
    calls = (node for path in SOURCES for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    return {
        keyword.value.value
        for call in calls
        for keyword in call.keywords
        if keyword.arg == "code" and isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, str)
    }


def test_no_code_has_two_rows() -> None:
    codes = [names(row[1])[0] for row in [*OTHERS, *CALLERS, *NGINX]] + [
        code for codes, *_ in MINIMAX for code in codes.split(", ")
    ]
    assert [code for code, count in Counter(codes).items() if count > 1] == [], f"{EDIT} under 'Errors'"


def test_the_table_of_minimax_codes_matches_the_code() -> None:
    in_table = {
        code: (int(status), retried == "yes") for codes, _, status, retried in MINIMAX for code in codes.split(", ")
    }
    expected = {str(code): (mapping.http_status, mapping.should_retry) for code, mapping in STATUS_CODES.items()}
    expected["any other"] = (UNKNOWN_CODE.http_status, UNKNOWN_CODE.should_retry)
    assert in_table == expected, f'{EDIT} "MiniMax\'s code", or app/minimax/error_codes.py'


def test_the_table_without_a_code_matches_the_code() -> None:
    callers_own = set(documented(CALLERS))
    expected = {code: (mapping.http_status, mapping.should_retry) for code, mapping in WITHOUT_CODE.items()}
    expected |= {code: outcome for code, outcome in gateway_errors().items() if code not in callers_own}
    assert documented(OTHERS) == expected, (
        f'{EDIT} "without MiniMax\'s code", app/errors.py or app/minimax/error_codes.py'
    )


CALLERS_OWN: dict[str, dict[str, Any]] = {
    "bad_request": {"data": "{}", "content_type": "application/json", "environ_overrides": {"CONTENT_LENGTH": "3"}},
    "invalid_value": {"json": {"model": "image-01", "prompt": "a", "n": 10}},
    "invalid_json": {"data": "{", "content_type": "application/json"},
    "invalid_form": {"path": EDITS, "data": b"--b\r\n", "content_type": "multipart/form-data; boundary=b"},
    "invalid_api_key": {"headers": {"Authorization": "Bearer unknown"}},
    "model_not_authorized": {"json": {"model": "image-01-live", "prompt": "a"}},
    "not_found": {"path": "/images/generations"},
    "model_not_found": {"path": "/v1/models/dall-e-3", "method": "GET"},
    "task_not_found": {"path": "/v1/images/tasks/0", "method": "GET"},
    "method_not_allowed": {"method": "GET"},
    "request_entity_too_large": {"data": b" " * (MAX_BODY_BYTES + 1), "content_type": "application/json"},
    "unsupported_media_type": {"data": "a", "content_type": "text/plain"},
}


def test_the_table_of_the_callers_own_errors_matches_the_responses(client: FlaskClient) -> None:
    in_table = {code: status for code, (status, _) in documented(CALLERS).items()}
    edit = f'{EDIT} "the caller\'s own, never retried"'
    elsewhere = {"request_timeout": RequestTimeout.code}  # takes a second: see tests/integration
    elsewhere[ImageNotFound.code] = ImageNotFound.http_status  # needs an image store: see tests/integration
    elsewhere |= {
        error.code: error.http_status for error in (AnswerExpired, IdempotencyKeyReused, TaskNotWithdrawn)
    }  # there too
    elsewhere |= {"precondition_failed": 412, "requested_range_not_satisfiable": 416}  # there too
    elsewhere |= {error.code: error.status for error in PROTOCOL_ERRORS.values()}  # before there is a request
    assert {code: in_table.get(code) for code in elsewhere} == elsewhere, edit
    assert set(in_table) == {*CALLERS_OWN, *elsewhere}, edit
    for code, sent in CALLERS_OWN.items():
        response = client.open(**{"path": GENERATIONS, "method": "POST"} | sent)
        assert (response.status_code, response.get_json()["error"]["code"]) == (in_table[code], code), edit
        assert response.headers["x-should-retry"] == "false"


def test_every_code_that_the_gateway_raises_is_documented() -> None:
    undocumented = {*gateway_errors(), *code_literals()} - {*documented(OTHERS), *documented(CALLERS)}
    assert not undocumented, f"edit docs/api.md, the tables under 'Errors': no row for {sorted(undocumented)}"


def test_the_tables_have_every_code_of_nginx() -> None:
    """Some codes are the gateway's too, and mean the same there."""
    in_table = {
        names(code)[0]: {(status, retried == "yes") for status in statuses.split(", ")}
        for _, code, statuses, retried in [*OTHERS, *([*row, "no"] for row in CALLERS), *NGINX]
    }
    codes = nginx_codes()
    codes["nginx_refused"] = {("any other", retried) for _, retried in codes["nginx_refused"]}
    assert {code: in_table.get(code) for code in codes} == codes, f"{EDIT} 'only from nginx', or deploy/nginx.conf"
    assert {names(code)[0] for _, code, *_ in NGINX} <= set(codes), f"{EDIT} 'only from nginx'"
