"""Owns the way to the database: transactions, what counts as its being gone, and whether the schema fits."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, Executable, Row
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, NotSupportedError, ProgrammingError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from app import metrics
from app.errors import DatabaseUnavailable
from app.storage import engines

log = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).with_name("migrations")
# Who has waited so long for nothing spares the next ones, for as long, from waiting too.
HUNG_SECONDS = 1
# What the database says when it works and we are wrong; all else means that it cannot be asked.
_OUR_OWN_FAULTS = (IntegrityError, DataError, ProgrammingError, NotSupportedError)
# PostgreSQL's word that it works and has not done this: a deadlock, a wait for a lock that was too long.
_UNDONE = ("40001", "40P01", "55P03", "57014")
_UPGRADE = "Run: flask --app wsgi db upgrade"


class SchemaOutdated(SystemExit):
    """Ends the start: Python prints the message on stderr and exits with status 1."""


class CommitOutcomeUnknown(DatabaseUnavailable):
    """It failed while the transaction was being committed: it may have been done, or not."""


class Database:
    def __init__(self, url: str, *, patient: bool = False) -> None:
        """`url` is SQLAlchemy's: `sqlite:////var/lib/amux/amux.db`, or `postgresql://user:password@host/name`.

        `patient` is for commands, whose statements may take as long as they need: no caller waits for them.
        """
        self._engines = engines.create(url, patient=patient)
        self.engine = self._engines.transactions
        self._hung_until = 0.0
        self._is_gone = False
        self._lock = threading.Lock()

    @contextmanager
    def connection(self, *, reads: bool = False) -> Iterator[Connection]:
        """One transaction: commits at the end, or rolls back. `reads` says that it writes nothing.

        Raises `DatabaseUnavailable` where the database cannot be asked, and of it `CommitOutcomeUnknown` at the commit.
        """
        engine = self._engines.reads if reads else self._engines.transactions
        with self._asked(reads=reads) as progress, engine.begin() as connection:
            yield connection
            progress.commits = True

    def run(self, statement: Executable, values: Mapping[str, Any]) -> Row[Any] | None:
        """The one row, if any, of a statement that is a transaction of its own.

        Raises as `connection` does, and `CommitOutcomeUnknown` once the statement is sent, unless the database reports
        that it was rolled back.
        """
        with self._asked() as progress, self._engines.statements.begin() as connection:
            progress.commits = True
            return connection.execute(statement, values).one_or_none()

    @contextmanager
    def transaction(self, *, reads: bool = False) -> Iterator[Session]:
        """The same with objects, which cost a millisecond more: for what no call waits for."""
        with self.connection(reads=reads) as connection, Session(connection, expire_on_commit=False) as session:
            yield session
            session.flush()

    def check_schema(self) -> None:
        """Raises `SchemaOutdated` with one line that says how to mend it."""
        expected = ScriptDirectory(str(MIGRATIONS)).get_current_head()
        file = engines.sqlite_file(self.engine)
        if file and not file.exists():  # SQLite would make an empty one, wherever a command happened to be typed
            raise SchemaOutdated(_start_fault(f"there is no database {file}. {_UPGRADE}"))
        try:
            with self._engines.reads.connect() as connection:
                found = MigrationContext.configure(connection).get_current_revision()
        except SQLAlchemyError as error:
            raise SchemaOutdated(_start_fault(f"no answer from DATABASE_URL: {reason(error)}")) from None
        if found != expected:
            state = "missing" if found is None else "of another version"
            raise SchemaOutdated(_start_fault(f"the database's schema is {state}. {_UPGRADE}"))

    @contextmanager
    def _asked(self, *, reads: bool = False) -> Iterator[_Progress]:
        """Around each transaction: says what its failure means, and for whom else."""
        started, progress = time.monotonic(), _Progress()
        if started < self._hung_until:
            raise DatabaseUnavailable
        try:
            yield progress
        except (DBAPIError, PoolTimeout) as error:
            if isinstance(error, _OUR_OWN_FAULTS):
                raise
            if getattr(error.orig if isinstance(error, DBAPIError) else None, "sqlstate", None) in _UNDONE:
                raise DatabaseUnavailable from error
            self._note(gone=True, why=reason(error))
            if time.monotonic() - started > HUNG_SECONDS:
                self._hung_until = time.monotonic() + HUNG_SECONDS
            raise (CommitOutcomeUnknown if progress.commits else DatabaseUnavailable) from error
        if self._is_gone and not reads:  # SQLite may be read while nobody can write
            self._note(gone=False)

    def _note(self, *, gone: bool, why: str = "") -> None:
        """Said once by each process, and not by each call."""
        with self._lock:
            if self._is_gone == gone:
                return
            self._is_gone = gone
            metrics.DATABASE_UNAVAILABLE.set(gone)
            if gone:
                log.warning("The database is gone: calls are refused until it is back. %s", why)
            else:
                log.warning("The database is back.")


def reason(error: BaseException | None) -> str:
    """The driver's own words, in one line. They hold no password."""
    words = str(error.orig if isinstance(error, DBAPIError) and error.orig else error).strip()
    return words.splitlines()[0] if words else type(error).__name__


def _start_fault(words: str) -> str:
    return f"The gateway cannot start: {words}"


@dataclass
class _Progress:
    commits: bool = False


def alembic_config(engine: Engine) -> Config:
    """For alembic's commands on this database."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["engine"] = engine
    return config
