"""Databases for the gateways with stored accounts, and Redis for the one that shares its key pool."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import redis_server

STORED = SQLITE, POSTGRESQL = "ours-sqlite", "ours-postgresql"
REDIS = "ours-redis"


@contextmanager
def databases(names: list[str], folder: Path) -> Iterator[dict[str, str]]:
    """Yield the URL by gateway name, for those of `names` that need a server or a file. Stops the servers."""
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
        if REDIS in names:
            urls[REDIS] = stack.enter_context(redis_server(folder)).url
        yield urls
