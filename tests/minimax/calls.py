"""One request to either endpoint, and the check that every error response must pass."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.images import JPEG

ENDPOINTS = ("generations", "edits")
MODEL = "MiniMax-Image-01"
PROMPT = "An otter that reads the harbour's newspaper"


def generate(client: FlaskClient, endpoint: str = "generations", **fields: Any) -> TestResponse:
    """Post JSON to generations, or a form with one image to edits."""
    document = {"model": MODEL, "prompt": PROMPT} | fields
    if endpoint == "edits":
        return client.post("/v1/images/edits", data=document | {"image": (BytesIO(JPEG), "face.jpg")})
    return client.post("/v1/images/generations", json=document)


def envelope(message: str, code: str, param: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "minimax_image_error", "param": param, "code": code}}


def retry_headers(response: TestResponse) -> tuple[str | None, str | None]:
    """`x-should-retry` and `Retry-After`."""
    return response.headers.get("x-should-retry"), response.headers.get("Retry-After")


def assert_error(response: TestResponse, status: int, code: str, *, retry: bool = False) -> str:
    """Check the whole envelope and the headers of an error; return its message."""
    message: str = response.json["error"]["message"] if response.json else ""
    assert message
    assert (response.status_code, response.json) == (status, envelope(message, code))
    should_retry, retry_after = retry_headers(response)
    assert should_retry == ("true" if retry else "false")
    assert (retry_after is not None) == retry
    assert response.headers["x-request-id"]
    return message
