"""Owns the engine for each of the two kinds of database: how it is reached, and how long it is waited for."""

from __future__ import annotations

import select
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.errors import OperationalError
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DisconnectionError

POOL_SIZE = 5  # transactions are short, and none is open while MiniMax draws
POOL_SECONDS = 10  # for one of them: a thousand calls may come, and end, at once
SECONDS = 5  # for a new connection, for each statement, and for SQLite's lock
SERVER_MILLISECONDS = 4_000  # for each statement, by PostgreSQL's own clock
QUIET_SECONDS = 30  # after which the kernel asks whether the server is still there
_USED = "used"  # in the pool's notes on a connection
_READS = "reads"  # the execution option of a transaction that writes nothing


@dataclass(frozen=True)
class Engines:
    """Ways to one pool: for transactions, for those that write nothing, and for statements that are one each."""

    transactions: Engine
    reads: Engine
    statements: Engine


def create(url: str, *, patient: bool) -> Engines:
    """Connects to nothing yet, so that the processes that are forked later have no connection in common."""
    parsed = _with_driver(make_url(url))
    return _sqlite(parsed) if parsed.get_backend_name() == "sqlite" else _postgresql(parsed, patient=patient)


def sqlite_file(engine: Engine) -> Path | None:
    """Where a SQLite database is, if it is one of the usual kind."""
    place = engine.url.database or ":memory:"
    is_file = engine.dialect.name == "sqlite" and place != ":memory:" and not place.startswith("file:")
    return Path(place).absolute() if is_file else None


def _with_driver(url: URL) -> URL:
    # Platforms give postgres:// and postgresql://, for which SQLAlchemy would take psycopg 2.
    return url.set(drivername="postgresql+psycopg") if url.drivername in ("postgres", "postgresql") else url


def _sqlite(url: URL) -> Engines:
    engine = create_engine(url, pool_size=POOL_SIZE, max_overflow=0, pool_timeout=POOL_SECONDS)
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return Engines(engine, engine.execution_options(**{_READS: True}), engine)


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy's own BEGIN instead of the driver's late one
    for pragma in (f"busy_timeout={SECONDS * 1000}", "journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later fails where two meet, without waiting: it says so at once.
    reads = connection.get_execution_options().get(_READS, False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _postgresql(url: URL, *, patient: bool) -> Engines:
    kind = psycopg.Connection if patient else _ImpatientConnection
    # The server gives a call's statement up before the gateway does: then it is known that nothing was done.
    timeout = 0 if patient else SERVER_MILLISECONDS

    def connect(_dialect: Any, _record: Any, args: Any, options: Any) -> psycopg.Connection[Any]:
        # What stands between here and the server forgets a connection that is quiet for long.
        made = kind.connect(*args, **{"connect_timeout": SECONDS, "keepalives_idle": QUIET_SECONDS, **options})
        try:
            made.execute(f"SET default_transaction_isolation = 'read committed'; SET statement_timeout = {timeout}")
            made.commit()
        except BaseException:
            made.close()
            raise
        return made

    engine = create_engine(
        url,
        pool_size=POOL_SIZE,
        max_overflow=0,
        pool_timeout=POOL_SECONDS,
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
    )
    event.listen(engine, "do_connect", connect)
    event.listen(engine, "checkout", _check_nothing_came)
    transactions = engine.execution_options(isolation_level="READ COMMITTED")
    return Engines(transactions, transactions, engine)


def _check_nothing_came(connection: Any, record: Any, _proxy: Any) -> None:
    # An idle server says nothing, but that it goes: asking it each time would be one more way there and back.
    if not record.info.get(_USED):  # a new one has not been idle
        record.info[_USED] = True
        return
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if poll.poll(0):
        raise DisconnectionError


class _ImpatientConnection(psycopg.Connection[Any]):
    """Gives a server up that has stopped answering: the kernel, and so psycopg, would wait for it for ever."""

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        try:
            return super().wait(gen, interval, SECONDS if timeout is None else timeout)
        except OperationalError:
            if self.info.transaction_status == psycopg.pq.TransactionStatus.ACTIVE:  # nobody knows where it stands
                self.pgconn.finish()
            raise
