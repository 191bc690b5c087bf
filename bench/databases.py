"""Databases for the gateways with stored accounts: a SQLite file, and a PostgreSQL server for this run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.postgres_server import PostgresServer

STORED = SQLITE, POSTGRESQL = "ours-sqlite", "ours-postgresql"


@contextmanager
def databases(names: list[str], folder: Path) -> Iterator[dict[str, str]]:
    """Yield the database URL by gateway name, for those of `names` that need one. Stops the server at the end."""
    with ExitStack() as stack:
        urls = {}
        if SQLITE in names:
            urls[SQLITE] = f"sqlite:///{folder / 'accounts.db'}"
        if POSTGRESQL in names:
            server = PostgresServer(durable=True)
            stack.callback(server.close)
            server.start()
            server.create("accounts")
            urls[POSTGRESQL] = server.url("accounts")
        yield urls
