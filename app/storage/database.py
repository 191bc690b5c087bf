"""Database access: transactions, availability tracking, schema check."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, NotSupportedError, ProgrammingError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session, configure_mappers

from app.errors import DatabaseUnavailable
from app.native_thread import NativeThreads
from app.storage import engines
from app.storage.availability import Availability

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).with_name("migrations")
MAX_READERS = 3  # one more than usage queries may run at once, for the lookup of keys
# The database works, and the statement is wrong. Any other error means that the database is unavailable.
_CALLER_ERRORS = (IntegrityError, DataError, ProgrammingError, NotSupportedError)
# PostgreSQL works and has rolled back: serialization failure, deadlock, lock not available, statement canceled.
_ROLLED_BACK_SQLSTATES = ("40001", "40P01", "55P03", "57014")
_UPGRADE = "Run: flask --app wsgi db upgrade"


class SchemaOutdated(SystemExit):
    """Ends the start: Python prints the message on stderr and exits with status 1."""


class TransactionRolledBack(DatabaseUnavailable):
    """The database works and has rolled the transaction back: a deadlock, or a lock that was held for long."""


class CommitOutcomeUnknown(DatabaseUnavailable):
    """The commit failed in a way that leaves unknown whether the transaction took effect."""


class Database:
    """One SQLite or PostgreSQL database. There are two ways to a transaction:

    `connection` for statements on tables.
    `transaction` for mapped objects. It costs a millisecond more, so it is not for what every call waits for.

    SQLite blocks its thread, so what the gateway does with it runs in `writer_thread` and `reader_threads`.
    PostgreSQL's driver cooperates with gevent: there both run a function where they are called.

    Both ways raise `DatabaseUnavailable` if the database does not respond, and pass on SQLAlchemy's errors if the
    statement is wrong (`IntegrityError` and the like).
    """

    def __init__(self, url: str, *, statement_timeout: bool = True) -> None:
        """Does not connect yet, so it is safe before a fork.

        `url` is SQLAlchemy's: `sqlite:////var/lib/amux/amux.db`, or `postgresql://user:password@host/name`.
        `statement_timeout` is off for operator commands, whose statements on PostgreSQL may take any time.
        """
        self._engines = engines.create(url, statement_timeout=statement_timeout)
        self.engine = self._engines.transactions
        self._blocks = self.engine.dialect.name == "sqlite"
        self.writer_thread = NativeThreads(1 if self._blocks else 0)
        self.reader_threads = NativeThreads(MAX_READERS if self._blocks else 0)
        self._availability = Availability("Database", "rejecting image requests")

    def initialize(self) -> None:
        """Do what SQLAlchemy does at its first use. Call it in each process before several native threads use SQLite.

        SQLAlchemy does that under locks, which are gevent's. A native thread that waits for such a lock may miss that
        another native thread releases it, and then waits for ever.
        """
        if self._blocks:
            configure_mappers()
            for threads, engine in (
                (self.writer_thread, self._engines.transactions),
                (self.reader_threads, self._engines.read_only),
            ):
                threads.call(_connect_once, engine)

    @contextmanager
    def connection(self, *, read_only: bool = False, single_statement: bool = False) -> Iterator[Connection]:
        """A transaction: commits at the end of the context, rolls back on an exception.

        With `single_statement` the context runs one statement that writes, which PostgreSQL then commits by itself: one
        round trip instead of three. Raises `DatabaseUnavailable`, or its subclass `CommitOutcomeUnknown` if the
        transaction may have been committed.
        """
        engine = self._engines.read_only if read_only else self._engines.transactions
        if single_statement:
            engine = self._engines.statements
        with self._translate_errors(read_only=read_only) as progress, engine.begin() as connection:
            progress.commits = single_statement
            yield connection
            progress.commits = True

    @contextmanager
    def transaction(self, *, read_only: bool = False) -> Iterator[Session]:
        """`connection` with a session for mapped objects, which stay loaded after the context. Raises the same."""
        with self.connection(read_only=read_only) as connection, Session(connection, expire_on_commit=False) as session:
            yield session
            session.flush()

    def check_schema(self) -> None:
        """Raises `SchemaOutdated` with a message of one line that names the remedy."""
        # Imported here, because it takes 9 MB, which a gateway without a database does not need.
        from alembic.migration import MigrationContext
        from alembic.script import ScriptDirectory

        expected = ScriptDirectory(str(MIGRATIONS)).get_current_head()
        file = engines.sqlite_file(self.engine)
        if file and not file.exists():  # connecting would create an empty one, in whatever folder a command is run
            raise SchemaOutdated(_start_error(f"there is no database {file}. {_UPGRADE}"))
        try:
            with self._engines.read_only.connect() as connection:
                found = MigrationContext.configure(connection).get_current_revision()
        except SQLAlchemyError as error:
            raise SchemaOutdated(_start_error(f"no answer from DATABASE_URL: {reason(error)}")) from None
        if found != expected:
            state = "missing" if found is None else "of another version"
            raise SchemaOutdated(_start_error(f"the database's schema is {state}. {_UPGRADE}"))

    @contextmanager
    def _translate_errors(self, *, read_only: bool = False) -> Iterator[_Progress]:
        """Around each transaction: maps errors to `DatabaseUnavailable`, and tracks whether the database responds."""
        started, progress = self._availability.check(), _Progress()
        try:
            yield progress
        except (DBAPIError, PoolTimeout) as error:
            if isinstance(error, _CALLER_ERRORS):
                raise
            sqlstate = getattr(error.orig if isinstance(error, DBAPIError) else None, "sqlstate", None)
            if sqlstate in _ROLLED_BACK_SQLSTATES:
                raise TransactionRolledBack from error
            self._availability.failed(started, reason(error))
            raise (CommitOutcomeUnknown if progress.commits else DatabaseUnavailable) from error
        if not read_only:  # a SQLite database that cannot be written may still be read
            self._availability.works()


def reason(error: BaseException | None) -> str:
    """The first line of the driver's message. It holds no password."""
    message = str(error.orig if isinstance(error, DBAPIError) and error.orig else error).strip()
    return message.splitlines()[0] if message else type(error).__name__


def _start_error(message: str) -> str:
    return f"The gateway cannot start: {message}"


@dataclass
class _Progress:
    """`commits` is whether a failure from here on may come after the commit."""

    commits: bool = False


def alembic_config(engine: Engine) -> Config:
    """Configuration with which alembic's commands run the migrations on `engine`."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["engine"] = engine
    return config


def _connect_once(engine: Engine) -> None:
    with suppress(SQLAlchemyError), engine.connect():  # the calls will say that the database is unavailable
        pass
