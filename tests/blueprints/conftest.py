"""A gateway with accounts on each database, and its keys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from app.storage.api_keys import ApiKeyStore
from app.storage.database import Database
from tests.conftest import MakeClient
from tests.support.databases import ScratchDatabase

MODEL = "MiniMax-Image-01"


@pytest.fixture
def keys(database: Database) -> ApiKeyStore:
    return ApiKeyStore(database)


@pytest.fixture
def gateway(make_client: MakeClient, test_db: ScratchDatabase, tmp_path: Path) -> Iterator[FlaskClient]:
    """A gateway on this database; an image costs 100."""
    client = make_client(
        api_keys=(), database_url=test_db.url, prices={MODEL: 100}, journal_folder=str(tmp_path / "journal")
    )
    yield client
    client.application.extensions["storage"].database.engine.dispose()
