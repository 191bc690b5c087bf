"""A new storage for each test, on both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.storage.api_keys import ApiKeyStore
from app.storage.database import Database
from app.storage.ledger import Ledger
from app.storage.storage import Storage
from tests.support.databases import ScratchDatabase

PRICE = 100
MakeKey = Callable[..., int]


@pytest.fixture
def keys(database: Database) -> ApiKeyStore:
    return ApiKeyStore(database)


@pytest.fixture
def ledger(database: Database) -> Ledger:
    return Ledger(database)


@pytest.fixture
def make_key(keys: ApiKeyStore) -> MakeKey:
    """The id of a new key; `balance` as `ApiKeyStore.create` takes it."""

    def make(balance: int | None = None, name: str = "key") -> int:
        keys.create(name, balance=balance)
        return keys.get(name).id

    return make


@pytest.fixture
def storage(test_db: ScratchDatabase, tmp_path: Path) -> Iterator[Storage]:
    storage = open_storage(test_db.url, tmp_path / "journal")
    yield storage
    storage.database.engine.dispose()


def open_storage(url: str, journal_folder: Path) -> Storage:
    return Storage(
        url,
        prices={"MiniMax-Image-01": PRICE},
        journal_folder=journal_folder,
        max_call_seconds=60,
        usage_days=30,
    )
