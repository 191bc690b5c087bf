"""Fixtures: a Flask test client of the sandbox, without a server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from app.sandbox.accounts import Accounts
from app.sandbox.app import create_sandbox
from tests.support.processes import UPSTREAM_KEY

Draw = Callable[..., Any]


@pytest.fixture
def sandbox() -> FlaskClient:
    client = create_sandbox(Accounts.of(UPSTREAM_KEY)).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {UPSTREAM_KEY}"
    return client


@pytest.fixture
def draw(sandbox: FlaskClient) -> Draw:
    """Post a valid request with some fields replaced, or left out if None. Returns the response's JSON."""

    def post(**fields: Any) -> Any:
        body = {"model": "image-01", "prompt": "A lighthouse", "response_format": "base64"} | fields
        response = sandbox.post(
            "/v1/image_generation", json={name: value for name, value in body.items() if value is not None}
        )
        assert response.status_code == 200
        return response.get_json()

    return post
