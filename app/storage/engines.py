"""SQLAlchemy engines for SQLite and PostgreSQL, with timeouts. PostgreSQL's are made in a module of their own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.pool import NullPool

POOL_SIZE = 5  # transactions are short, and none is open during the upstream call
POOL_TIMEOUT_SECONDS = 10  # for a connection of the pool: a thousand calls may start or end at once
DATABASE_TIMEOUT_SECONDS = 5  # for a new connection, for each statement, and for SQLite's lock
_READ_ONLY = "read_only"  # execution option of a transaction that writes nothing


@dataclass(frozen=True)
class Engines:
    """Engines for transactions, for read-only transactions, and for single statements."""

    transactions: Engine
    read_only: Engine
    statements: Engine


def create(url: str, *, statement_timeout: bool) -> Engines:
    """Does not connect yet: a connection must not be shared by processes that are forked later."""
    parsed = _with_driver(make_url(url))
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(parsed)
    # Imported here, because psycopg takes memory that a gateway with SQLite does not need.
    from app.storage.engines_postgresql import create_postgresql

    return Engines(*create_postgresql(parsed, statement_timeout=statement_timeout))


def sqlite_file(engine: Engine) -> Path | None:
    """The file of a SQLite database; None for another database, one in memory, or a `file:` URI."""
    path = engine.url.database or ":memory:"
    is_file = engine.dialect.name == "sqlite" and path != ":memory:" and not path.startswith("file:")
    return Path(path).absolute() if is_file else None


def _with_driver(url: URL) -> URL:
    # Platforms provide postgres:// and postgresql:// URLs, for which SQLAlchemy's default is psycopg 2.
    return url.set(drivername="postgresql+psycopg") if url.drivername in ("postgres", "postgresql") else url


def _sqlite(url: URL) -> Engines:
    transactions = create_engine(url, pool_size=POOL_SIZE, max_overflow=0, pool_timeout=POOL_TIMEOUT_SECONDS)
    # Several native threads read. Without a pool they share no lock, and a connection takes a fifth of a millisecond.
    read_only = create_engine(url, poolclass=NullPool, execution_options={_READ_ONLY: True})
    for engine in (transactions, read_only):
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return Engines(transactions, read_only, transactions)


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy's own BEGIN instead of the driver's late one
    busy_timeout = f"busy_timeout={DATABASE_TIMEOUT_SECONDS * 1000}"
    for pragma in (busy_timeout, "journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # A deferred transaction that reads and then writes fails without waiting if another one has written meanwhile.
    read_only = connection.get_execution_options().get(_READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
