"""Unit tests of the client: the exact call, and errors of requests that a real socket cannot provoke."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import requests
import responses
from responses import matchers
from urllib3.exceptions import HTTPError, LocationParseError

from app.minimax.client import MinimaxClient
from app.minimax.errors import MinimaxError
from app.services.image_request import ImageResult
from tests.support.fake_minimax import error_response, success
from tests.support.images import data_url

URL = "https://api.minimax.example/v1/image_generation"
PAYLOAD = {
    "model": "image-01-live",
    "prompt": "水彩 🦦 \ud800",
    "n": 9,
    "response_format": "base64",
    "aspect_ratio": "16:9",
    "seed": -(2**63),
    "prompt_optimizer": False,
    "aigc_watermark": True,
    "style": {"style_type": "水彩", "style_weight": 0.5},
    "subject_reference": [{"type": "character", "image_file": data_url()}],
}


def new_client() -> MinimaxClient:
    return MinimaxClient("https://api.minimax.example", 30)


def sends(document: Any) -> Callable[[requests.PreparedRequest], tuple[bool, str]]:
    """Match a body that is `document` and as long as its Content-Length."""

    def match(request: requests.PreparedRequest) -> tuple[bool, str]:
        body = b"".join(request.body or ())  # type: ignore[arg-type]
        length = request.headers["Content-Length"]
        return json.loads(body) == document and length == str(len(body)), f"{length} bytes: {body!r}"

    return match


@responses.activate(assert_all_requests_are_fired=True)
def test_client_sends_one_post_with_json_payload_and_bearer_key() -> None:
    document = success(9, response_format="base64")
    responses.post(
        URL,
        json=document,
        headers={"Trace-Id": "t-9"},
        match=[
            sends(PAYLOAD),
            matchers.header_matcher({"Authorization": "Bearer sk-upstream", "Content-Type": "application/json"}),
            matchers.request_kwargs_matcher({"stream": True}),
        ],
    )
    result = new_client().generate_images(PAYLOAD, "sk-upstream")
    assert result == ImageResult(
        images=tuple(document["data"]["image_base64"]),
        metadata={"failed_count": "0", "success_count": "9"},
        trace_id="t-9",
        upstream_ms=result.upstream_ms,
        close=result.close,
    )
    assert len(responses.calls) == 1


@responses.activate
def test_an_error_code_raises_minimax_error_with_its_trace_id() -> None:
    responses.post(URL, json=error_response(1026, "no"), headers={"X-Mm-Request-Id": "t-10"})
    with pytest.raises(MinimaxError) as caught:
        new_client().generate_images(PAYLOAD, "sk-upstream")
    assert (caught.value.code, caught.value.http_status, caught.value.trace_id) == ("1026", 403, "t-10")
    assert caught.value.upstream_ms is not None


@responses.activate
@pytest.mark.parametrize(
    "failure",
    [
        requests.ConnectionError("sk-upstream"),
        requests.ReadTimeout(),
        requests.TooManyRedirects(),
        requests.exceptions.SSLError(),
        requests.exceptions.InvalidHeader(),
        requests.exceptions.InvalidURL(),
        HTTPError(),
        LocationParseError("minimax"),
        OSError(),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_any_failure_before_the_first_byte_is_upstream_unreachable(failure: Exception) -> None:
    responses.post(URL, body=failure)
    with pytest.raises(MinimaxError) as caught:
        new_client().generate_images(PAYLOAD, "sk-upstream")
    assert caught.value.code == "upstream_unreachable"
    assert caught.value.__cause__ is failure
    assert "sk-upstream" not in caught.value.message
    assert len(responses.calls) == 1
