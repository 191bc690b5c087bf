"""`GET /openapi.json` is valid OpenAPI, and has every route, error code and header of the gateway."""

from __future__ import annotations

import configparser
import re

import pytest
from flask.testing import FlaskClient
from openapi_spec_validator import OpenAPIV31SpecValidator
from werkzeug.routing import Rule

from app.blueprints.openapi import MAX_AGE_SECONDS
from app.openapi.document import VERSION
from app.openapi.errors import NEVER_SENT
from app.openapi.headers import HEADERS
from app.openapi.operations import OPERATIONS
from app.openapi.response_schemas import TASK_STATES
from app.tasks.task import State
from app.web.cors import EXPOSED_HEADERS
from tests.conftest import MakeClient
from tests.deploy.test_nginx_words import nginx_codes
from tests.docs.test_api import CALLERS, MINIMAX, NGINX, OTHERS, documented, header_literals
from tests.support.openapi import Document
from tests.support.processes import ROOT

PATH = "/openapi.json"


def api_rules(client: FlaskClient) -> list[Rule]:
    """The routes but those of pages, which are for people."""
    return [rule for rule in client.application.url_map.iter_rules() if not rule.endpoint.startswith("pages.")]


def routes(client: FlaskClient) -> set[str]:
    return {
        f"{method} " + re.sub("<(?:[^<>]*:)?([^<>:]+)>", r"{\1}", rule.rule)
        for rule in api_rules(client)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


def operations(document: Document) -> set[str]:
    return {f"{method} {path}" for method, path, _ in document.operations()}


def test_the_document_is_valid_openapi(document: Document) -> None:
    assert document.spec["openapi"] == "3.1.0"
    assert [error.message for error in OpenAPIV31SpecValidator(document.spec).iter_errors()] == []


def test_every_route_is_an_operation_and_the_other_way_round(whole: FlaskClient, document: Document) -> None:
    assert operations(document) == routes(whole)
    assert {rule.endpoint for rule in api_rules(whole)} == set(OPERATIONS)


def test_a_gateway_documents_the_routes_that_it_has(client: FlaskClient) -> None:
    found = operations(Document(client.get(PATH).get_json()))
    assert found == routes(client)
    assert not [each for each in found if "usage" in each or "image_id" in each]


def test_operations_have_their_own_id_and_the_parameters_of_their_path(document: Document) -> None:
    ids = [operation["operationId"] for _, _, operation in document.operations()]
    assert len(ids) == len(set(ids))
    for _, path, operation in document.operations():
        in_path = {each["name"] for each in document.parameters(operation) if each["in"] == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", path)), path


def test_an_operation_needs_a_key_exactly_where_the_gateway_asks_for_one(
    whole: FlaskClient, document: Document
) -> None:
    for method, path, operation in document.operations():
        status = whole.open(path.replace("{image_id}", "a" * 32), method=method).status_code
        assert (status == 401) is (operation["security"] != []), path


def test_the_version_is_that_of_the_package() -> None:
    package = configparser.ConfigParser()
    package.read(ROOT / "setup.cfg")
    assert package["metadata"]["version"] == VERSION


def test_every_operation_has_a_described_tag(document: Document) -> None:
    described = {tag["name"] for tag in document.spec["tags"] if tag["description"]}
    assert {tag for *_, operation in document.operations() for tag in operation["tags"]} == described


def test_the_guide_names_only_what_the_document_has(document: Document) -> None:
    """Codes, headers and paths of the guide exist."""
    words = set(re.findall(r"`([^`\n]+)`", document.spec["info"]["description"]))
    codes = (
        {word for word in words if "_" in word and re.fullmatch(r"[a-z_]+", word)} - {"b64_json"} - set(nginx_codes())
    )
    headers = {word for word in words if word.startswith("x-") and not word.endswith("…")} - {"x-errorCodes"}
    paths = {word for word in words if word.startswith("GET /")}
    assert codes
    assert codes <= {*document.spec["x-errorCodes"], *nginx_codes()}
    assert headers
    assert headers <= set(document.spec["components"]["headers"])
    assert paths
    assert paths <= operations(document)


def test_the_guide_has_the_codes_that_only_nginx_sends(document: Document) -> None:
    """As docs/api.md has them, which is held against deploy/nginx.conf."""
    found = re.findall(
        r"^- (`\w+`) \(([^)]+)\): .* Retried: (\w+)\.$", document.spec["info"]["description"], re.MULTILINE
    )
    assert found == [tuple(row[1:]) for row in NGINX]


def test_what_is_conditional_has_its_request_headers(document: Document) -> None:
    needed = {"206": "Range", "416": "Range", "304": "If-None-Match", "412": "If-Match"}
    for _, path, operation in document.operations():
        in_headers = {each["name"] for each in document.parameters(operation) if each["in"] == "header"}
        assert {needed[status] for status in operation["responses"] if status in needed} <= in_headers, path


# Errors and headers


WORDS_OF_HTTP = {"ETag", "Content-Length", "Content-Encoding", "Retry-After", "x-should-retry", "x-request-id"}


def test_every_error_is_explained_in_words_that_callers_know(document: Document) -> None:
    """Words that are set as code are headers, parameters or members of an error, not names in the gateway's source."""
    names = {parameter["name"] for parameter in document.spec["components"]["parameters"].values()}
    members = set(document.spec["components"]["schemas"]["ErrorObject"]["properties"])
    for code, each in document.spec["x-errorCodes"].items():
        text = f"{each['meaning']} {each.get('retry_exception', '')}"
        assert set(re.findall(r"`([^`]+)`", text)) <= names | members | WORDS_OF_HTTP | {"/v1"}, code
        assert "contract" not in text, code
        assert "(" not in text, code


def test_every_documented_code_has_its_status_and_retry(document: Document) -> None:
    """docs/api.md has the same codes; it says of one that it never reaches a caller."""
    table = {code: (each["status"], each["should_retry"]) for code, each in document.spec["x-errorCodes"].items()}
    other = table.pop("any other number")
    expected = documented(OTHERS) | documented(CALLERS)
    del expected[NEVER_SENT]
    for codes, _, status, retried in MINIMAX:
        expected |= {code: (int(status), retried == "yes") for code in codes.split(", ")}
    assert other == expected.pop("any other")
    assert table == expected
    assert all(each["meaning"] for each in document.spec["x-errorCodes"].values())


def test_a_response_lists_its_codes_by_whether_they_are_retried(document: Document) -> None:
    table = document.spec["x-errorCodes"]
    for name, response in document.spec["components"]["responses"].items():
        lists = re.split(r"^(Not retried|Retried):$", response["description"], flags=re.MULTILINE)[1:]
        listed = {
            code: title == "Retried"
            for title, text in zip(lists[::2], lists[1::2], strict=True)
            for code in re.findall("^- `([^`]+)`:", text, re.MULTILINE)
        }
        assert listed == {code: table[code]["should_retry"] for code in response["x-errorCodes"]}, name


def test_every_code_is_in_a_response_of_its_status(document: Document) -> None:
    found = set()
    for _, path, operation in document.operations():
        for status, response in operation["responses"].items():
            codes = document.resolve(response).get("x-errorCodes", [])
            assert {document.spec["x-errorCodes"][code]["status"] for code in codes} <= {int(status)}, path
            found |= set(codes)
    assert set(document.spec["x-errorCodes"]) == found


def test_every_header_of_the_gateway_is_described(document: Document) -> None:
    described = set(document.spec["components"]["headers"])
    received = {"x-stainless-retry-count"}
    beginnings = tuple(name for name in header_literals() if name.endswith("-"))
    literals = {name for name in header_literals() if not name.endswith("-")} - received
    assert {*EXPOSED_HEADERS, *literals} <= described
    assert all(name.startswith(beginnings) or name in HEADERS for name in described)


def test_the_states_of_a_task_are_those_of_the_store() -> None:
    assert set(State.__args__) == set(TASK_STATES)  # type: ignore[attr-defined]


# Serving it


def test_the_document_needs_no_key_and_may_be_kept(client: FlaskClient) -> None:
    del client.environ_base["HTTP_AUTHORIZATION"]
    first = client.get(PATH)
    assert (first.status_code, first.content_type) == (200, "application/json")
    assert first.headers["Cache-Control"] == f"public, max-age={MAX_AGE_SECONDS}"
    assert first.headers["X-Content-Type-Options"] == "nosniff"
    again = client.get(PATH, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    assert client.get(PATH, headers={"If-None-Match": '"another"'}).data == first.data
    assert client.head(PATH).headers["Content-Length"] == str(len(first.data))


def test_the_etag_is_the_same_in_every_worker_and_another_for_another_document(make_client: MakeClient) -> None:
    tags = [make_client(forward_dimensions=wide).get(PATH).headers["ETag"] for wide in (False, False, True)]
    assert tags[0] == tags[1] != tags[2]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_without_pages_there_is_no_document(make_client: MakeClient, method: str) -> None:
    client = make_client(pages=False)
    assert client.open(PATH, method=method).status_code == 404
    assert client.get("/v1/models").status_code == 200


def test_the_document_holds_no_setting_that_is_secret(make_client: MakeClient) -> None:
    text = make_client(minimax_api_key="upstream-secret", api_keys=("caller-secret",)).get(PATH).text
    assert "secret" not in text
