"""A visitor of the pages."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient


@pytest.fixture
def visitor(client: FlaskClient) -> FlaskClient:
    """A browser without an API key."""
    del client.environ_base["HTTP_AUTHORIZATION"]
    return client
