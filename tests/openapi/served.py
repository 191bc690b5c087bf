"""The document of a served gateway, and its responses."""

from __future__ import annotations

from functools import cache

import requests
from requests.structures import CaseInsensitiveDict
from werkzeug.test import TestResponse

from tests.support.openapi import Answer, Document
from tests.support.processes import Served


def served_document(served: Served) -> Document:
    return _document_at(served.url)


@cache
def _document_at(url: str) -> Document:
    return Document(requests.get(f"{url}/openapi.json", timeout=10).json())


def answer_of(response: requests.Response) -> Answer:
    is_json = response.headers.get("Content-Type", "").startswith("application/json")
    return Answer(response.status_code, response.headers, response.json() if is_json and response.content else None)


def answer_of_test(response: TestResponse) -> Answer:
    return Answer(response.status_code, CaseInsensitiveDict(response.headers.items()), response.get_json(silent=True))
