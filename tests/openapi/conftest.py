"""The OpenAPI document of a gateway with everything that has routes of its own: a database, and an image store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from app import create_app
from app.objects.location import FileLocation
from app.settings import Settings
from tests.support.client import client_of
from tests.support.openapi import Document
from tests.support.processes import UPSTREAM_KEY
from tests.support.settings import unpaced

PRICE = 3500


@pytest.fixture(scope="session")
def whole(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    """A client of a gateway with all routes."""
    folder = tmp_path_factory.mktemp("whole")
    settings = Settings(
        minimax_api_key=UPSTREAM_KEY,
        database_url=f"sqlite:///{migrated_sqlite}",
        prices={"MiniMax-Image-01": PRICE},
        image_store=FileLocation(folder / "images"),
        public_url="https://images.example.com",
        **unpaced(),
    )
    client = client_of(create_app(settings))
    yield client
    client.application.extensions["storage"].database.engine.dispose()


@pytest.fixture(scope="session")
def document(whole: FlaskClient) -> Document:
    return Document(whole.get("/openapi.json").get_json())
