"""Each example of the document is sent to a real gateway with the sandbox, and is answered."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from app.openapi import examples
from tests.conftest import AUTH
from tests.openapi.served import answer_of, served_document
from tests.support.images import JPEG
from tests.support.openapi import Document
from tests.support.processes import Served

JSON, FORM = "application/json", "multipart/form-data"
PATHS = {"/v1/images/generations": [examples.GENERATION], "/v1/images/edits": [examples.FORM, examples.EDIT]}
EXAMPLES = [
    (path + suffix, FORM if table is examples.FORM else JSON, name)
    for path, tables in PATHS.items()
    for suffix in ("", "/async")
    for table in tables
    for name in table
]


def body_of(document: Document, path: str, content_type: str, name: str) -> dict[str, Any]:
    content = document.operation("POST", path)["requestBody"]["content"][content_type]
    body: dict[str, Any] = content["examples"][name]["value"]
    assert document.faults(content["schema"], body) == []
    return body


def send(served: Served, path: str, content_type: str, body: dict[str, Any]) -> requests.Response:
    if content_type == JSON:
        return requests.post(served.url + path, json=body, headers=AUTH, timeout=60)
    parts = {name: (None, str(value)) for name, value in body.items()}
    return requests.post(served.url + path, files=parts, headers=AUTH, timeout=60)


@pytest.mark.parametrize(("path", "content_type", "name"), EXAMPLES)
def test_an_example_is_answered_as_documented(served: Served, path: str, content_type: str, name: str) -> None:
    document = served_document(served)
    response = send(served, path, content_type, body_of(document, path, content_type, name))
    assert response.status_code == (202 if path.endswith("/async") else 200), response.text
    is_stream = response.headers["Content-Type"].startswith("text/event-stream")
    assert is_stream is (name == "stream" and not path.endswith("/async"))
    document.check("POST", path, answer_of(response))


def test_every_example_of_the_document_is_sent(served: Served) -> None:
    found = {
        (path, content_type, name)
        for _, path, operation in served_document(served).operations()
        for content_type, content in operation.get("requestBody", {}).get("content", {}).items()
        for name in content["examples"]
    }
    assert found == set(EXAMPLES)


def test_every_example_of_a_response_fits_its_schema(served: Served) -> None:
    document = served_document(served)
    shown = [
        (content["schema"], example["value"])
        for *_, operation in document.operations()
        for response in operation["responses"].values()
        for content in document.resolve(response).get("content", {}).values()
        for example in content.get("examples", {}).values()
    ]
    assert [document.faults(schema, value) for schema, value in shown] == [[]] * len(shown)
    assert {"Images", "Task"} == {schema["$ref"].rpartition("/")[2] for schema, _ in shown}


def test_a_form_with_a_file_is_answered_as_documented(served: Served) -> None:
    fields, file = {"model": "image-01", "prompt": "A face"}, {"image": ("face.jpg", JPEG, "image/jpeg")}
    response = requests.post(f"{served.url}/v1/images/edits", fields, files=file, headers=AUTH, timeout=60)
    assert response.status_code == 200
    served_document(served).check("POST", "/v1/images/edits", answer_of(response))
