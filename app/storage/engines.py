"""SQLAlchemy engines for SQLite and PostgreSQL, with timeouts."""

from __future__ import annotations

import select
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.errors import OperationalError
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import NullPool

POOL_SIZE = 5  # transactions are short, and none is open during the upstream call
POOL_TIMEOUT_SECONDS = 10  # for a connection of the pool: a thousand calls may start or end at once
DATABASE_TIMEOUT_SECONDS = 5  # for a new connection, for each statement, and for SQLite's lock
STATEMENT_TIMEOUT_MILLISECONDS = 4_000  # for each statement, enforced by the PostgreSQL server
KEEPALIVE_IDLE_SECONDS = 30  # after which the kernel checks whether the server is still there
_USED = "used"  # key in `info` of a pooled connection
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
    return (
        _sqlite(parsed)
        if parsed.get_backend_name() == "sqlite"
        else _postgresql(parsed, statement_timeout=statement_timeout)
    )


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


def _postgresql(url: URL, *, statement_timeout: bool) -> Engines:
    connection_class = _TimeoutConnection if statement_timeout else psycopg.Connection
    # The server cancels a statement before the gateway gives up on it, so that it is known to be rolled back.
    timeout = STATEMENT_TIMEOUT_MILLISECONDS if statement_timeout else 0

    def connect(_dialect: Any, _record: Any, args: Any, options: Any) -> psycopg.Connection[Any]:
        # Keepalives, because a proxy or firewall on the way drops a connection that is idle for long.
        defaults = {"connect_timeout": DATABASE_TIMEOUT_SECONDS, "keepalives_idle": KEEPALIVE_IDLE_SECONDS}
        connection = connection_class.connect(*args, **(defaults | options))
        try:
            connection.execute(
                f"SET default_transaction_isolation = 'read committed'; SET statement_timeout = {timeout}"
            )
            connection.commit()
        except BaseException:
            connection.close()
            raise
        return connection

    engine = create_engine(
        url,
        pool_size=POOL_SIZE,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT_SECONDS,
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
    )
    event.listen(engine, "do_connect", connect)
    event.listen(engine, "checkout", _check_idle_connection)
    transactions = engine.execution_options(isolation_level="READ COMMITTED")
    return Engines(transactions, transactions, engine)


def _check_idle_connection(connection: Any, record: Any, _proxy: Any) -> None:
    # A server sends nothing on an idle connection except that it closes it. Looking for that saves a round trip.
    if not record.info.get(_USED):  # a new connection has not been idle
        record.info[_USED] = True
        return
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if poll.poll(0):
        raise DisconnectionError


class _TimeoutConnection(psycopg.Connection[Any]):
    """Stops waiting for a server that no longer responds, which psycopg by itself would never do."""

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        try:
            return super().wait(gen, interval, DATABASE_TIMEOUT_SECONDS if timeout is None else timeout)
        except OperationalError:
            if self.info.transaction_status == psycopg.pq.TransactionStatus.ACTIVE:  # its state is unknown
                self.pgconn.finish()
            raise
