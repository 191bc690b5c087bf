"""SQLAlchemy engines for PostgreSQL, with timeouts."""

from __future__ import annotations

import select
from typing import Any

import psycopg
from psycopg.errors import OperationalError
from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.exc import DisconnectionError

from app.storage import engines

STATEMENT_TIMEOUT_MILLISECONDS = 4_000  # for each statement, enforced by the PostgreSQL server
KEEPALIVE_IDLE_SECONDS = 30  # after which the kernel checks whether the server is still there
_USED = "used"  # key in `info` of a pooled connection


def create_postgresql(url: URL, *, statement_timeout: bool) -> tuple[Engine, Engine, Engine]:
    """The engines for transactions, for read-only transactions, and for single statements."""
    connection_class = _TimeoutConnection if statement_timeout else psycopg.Connection
    # The server cancels a statement before the gateway gives up on it, so that it is known to be rolled back.
    timeout = STATEMENT_TIMEOUT_MILLISECONDS if statement_timeout else 0

    def connect(_dialect: Any, _record: Any, args: Any, options: Any) -> psycopg.Connection[Any]:
        # Keepalives, because a proxy or firewall on the way drops a connection that is idle for long.
        defaults = {"connect_timeout": engines.DATABASE_TIMEOUT_SECONDS, "keepalives_idle": KEEPALIVE_IDLE_SECONDS}
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
        pool_size=engines.POOL_SIZE,
        max_overflow=0,
        pool_timeout=engines.POOL_TIMEOUT_SECONDS,
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
    )
    event.listen(engine, "do_connect", connect)
    event.listen(engine, "checkout", _check_idle_connection)
    transactions = engine.execution_options(isolation_level="READ COMMITTED")
    return transactions, transactions, engine


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
            return super().wait(gen, interval, engines.DATABASE_TIMEOUT_SECONDS if timeout is None else timeout)
        except OperationalError:
            if self.info.transaction_status == psycopg.pq.TransactionStatus.ACTIVE:  # its state is unknown
                self.pgconn.finish()
            raise
