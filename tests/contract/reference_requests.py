"""Requests with a reference image, in JSON and in a form, and checks that they were sent to MiniMax, or rejected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.fake_minimax import FakeMinimax
from tests.support.images import JPEG, data_url
from tests.support.request_encodings import BASE, PLAIN, Part, as_reference, envelope, post_form, post_parts

URL = "https://example.com/face.jpg?a=1&b=%2B#x"
DATA = data_url(JPEG)
MB = 1024 * 1024
NOT_BOTH = "Give one reference: {}, not both."
Post = Callable[[FlaskClient], TestResponse]


def sent(upstream: FakeMinimax) -> list[Any]:
    return [request.json for request in upstream.received]


def check_sent(got: TestResponse, upstream: FakeMinimax, image_file: str) -> None:
    payload = PLAIN | {"subject_reference": as_reference(image_file)}
    assert (got.status_code, sent(upstream)) == (200, [payload])
    assert "x-amux-ignored" not in got.headers


def check_rejected(got: TestResponse, upstream: FakeMinimax, message: str, param: str) -> None:
    assert (got.status_code, got.get_json()) == (400, envelope(message, param))
    assert upstream.received == []


def in_json(path: str, **fields: Any) -> Post:
    return lambda client: client.post(path, json=BASE | fields)


def in_form(*files: Callable[[], Part], **fields: Any) -> Post:
    return lambda client: post_form(client, BASE | fields, *(file() for file in files))


def in_pairs(*pairs: tuple[str, str]) -> Post:
    return lambda client: post_parts(client, *BASE.items(), *pairs)
