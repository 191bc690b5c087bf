"""Runs the SQL of the task store on a SQLite file of the state folder, for a gateway without a database.

It uses Python's own driver: SQLAlchemy would double the memory of an idle gateway.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from app.errors import DatabaseUnavailable
from app.native_thread import NativeThreads
from app.storage.availability import Availability
from app.storage.task_executor import Row, Run
from app.storage.task_schema import SCHEMA, VERSION, VERSIONS
from app.storage.times import to_sqlite

T = TypeVar("T")
BUSY_SECONDS = 5.0  # how long a transaction waits for those of other processes
MAX_READERS = 3

log = logging.getLogger(__name__)


class AnswersFile:
    """Implements `app.storage.task_executor.TaskExecutor`. SQLite blocks, so all of it runs in native threads."""

    skip_locked = ""

    def __init__(self, file: Path) -> None:
        """Connects at the first statement, so that processes that are forked have connections of their own."""
        self._file = file
        self._writer = NativeThreads(1)
        self._readers = NativeThreads(MAX_READERS)
        self._lock = threading.Lock()  # of those who write; taken outside of the native thread
        self._idle: deque[sqlite3.Connection] = deque()
        self._availability = Availability("File of answers", "rejecting idempotency keys and tasks")

    def create(self) -> None:
        """Create the tables if they are missing; a file of another version is made anew. Called before any fork.

        Raises `DatabaseUnavailable` if the file cannot be written.
        """
        with self._translated():
            with closing(self._connect()) as connection:
                [version] = connection.execute("PRAGMA user_version").fetchone()
            if version not in VERSIONS:
                log.warning("Answers of another version of the gateway are removed: %s", self._file)
                for path in (self._file, Path(f"{self._file}-wal"), Path(f"{self._file}-shm")):
                    path.unlink(missing_ok=True)
            with closing(self._connect()) as connection:
                connection.execute("PRAGMA journal_mode=WAL")  # kept in the file
                connection.executescript(f"BEGIN IMMEDIATE;{SCHEMA}PRAGMA user_version={VERSION};COMMIT;")

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def write(self, statements: Callable[[Run], T]) -> T:
        with self._lock:
            return self._writer.call(self._transaction, "BEGIN IMMEDIATE", statements)

    def read(self, sql: str, values: Mapping[str, Any]) -> Sequence[Row]:
        return self._readers.call(self._transaction, "BEGIN", lambda run: run(sql, values))

    def _transaction(self, begin: str, statements: Callable[[Run], T]) -> T:
        with self._translated(read_only=begin == "BEGIN"), self._connection() as connection:
            connection.execute(begin)
            result = statements(_runner(connection))
            connection.execute("COMMIT")
            return result

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """An idle connection, or a new one. One whose transaction failed is closed, which rolls it back."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connect()
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._file, isolation_level=None, timeout=BUSY_SECONDS, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection

    @contextmanager
    def _translated(self, *, read_only: bool = False) -> Iterator[None]:
        started = self._availability.check()
        try:
            yield
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.DataError):
            raise
        except sqlite3.Error as error:
            self._availability.failed(started, str(error))
            raise DatabaseUnavailable from error
        if not read_only:  # a file that cannot be written may still be read
            self._availability.works()


def _runner(connection: sqlite3.Connection) -> Run:
    def run(sql: str, values: Mapping[str, Any]) -> Sequence[Row]:
        return connection.execute(sql, {name: _value(value) for name, value in values.items()}).fetchall()

    return run


def _value(value: Any) -> Any:
    return to_sqlite(value) if isinstance(value, datetime) else value
