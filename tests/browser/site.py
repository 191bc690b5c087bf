"""A served gateway with a database of API keys, which the browser visits."""

from __future__ import annotations

import shutil
import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.storage.api_keys import ApiKeyStore
from app.storage.database import Database
from tests.support import processes
from tests.support.processes import Served

MODEL = "MiniMax-Image-01"
PRICE = 10_000  # micro-units an image
BALANCE = 1_000_000


@dataclass(frozen=True)
class Site:
    """`url` is the origin of the pages and of the API."""

    gateway: Served
    keys: ApiKeyStore

    @property
    def url(self) -> str:
        return self.gateway.url

    def new_key(self, *, balance: int | None = BALANCE, **limits: Any) -> str:
        """The secret of a new API key. `balance` is in micro-units; `limits` are columns of `ApiKey`."""
        return self.keys.create(f"key-{uuid.uuid4().hex}", balance=balance, **limits)

    def stop(self) -> None:
        """Stop at once. SIGTERM would wait for calls in the queue, and for open connections."""
        self.gateway.process.send_signal(signal.SIGINT)
        self.gateway.process.wait(30)


@contextmanager
def serve_site(folder: Path, migrated_sqlite: Path, upstream_url: str, **variables: str) -> Iterator[Site]:
    """A gateway with a SQLite database of its own. One worker process, so that limits are counted in one place."""
    shutil.copy(migrated_sqlite, folder / "amux.db")
    chosen = {
        "AMUX_API_KEYS": "",
        "AMUX_PRICES": f"{MODEL}={PRICE}",
        "DATABASE_URL": f"sqlite:///{folder / 'amux.db'}",
        "AMUX_JOURNAL_FOLDER": str(folder / "journal"),
        "WEB_CONCURRENCY": "1",
    }
    database = Database(chosen["DATABASE_URL"])
    try:
        with processes.gateway(folder, upstream_url, **(chosen | variables)) as gateway:
            site = Site(gateway, ApiKeyStore(database))
            yield site
            site.stop()
    finally:
        database.engine.dispose()
