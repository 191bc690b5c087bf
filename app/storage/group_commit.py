"""Group commit: writes that wait at the same time are committed in one transaction.

A transaction costs a lock on SQLite and a round trip and an fsync on PostgreSQL, however little it writes. One thread a
process takes the writes that have come in, commits them together and wakes those who wait.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast

from sqlalchemy import Connection

from app.errors import DatabaseUnavailable, GatewayError
from app.storage.database import Database, TransactionRolledBack

T = TypeVar("T")
MAX_BATCH = 200  # writes in one transaction: it holds the rows of their keys locked

log = logging.getLogger(__name__)


@dataclass
class _Write(Generic[T]):
    """One write that waits."""

    statements: Callable[[Connection], T]
    order: int
    single_statement: bool
    done: threading.Event = field(default_factory=threading.Event)
    result: T | None = None
    error: BaseException | None = None

    def finish(self, result: T | None = None, error: BaseException | None = None) -> None:
        self.result, self.error = result, error
        self.done.set()


class GroupCommit:
    """Implements `app.storage.writer.Writer`. Two processes lock the rows of a batch in the same order."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: queue.SimpleQueue[_Write[Any]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def write(self, statements: Callable[[Connection], T], *, order: int = 0, single_statement: bool = False) -> T:
        write = _Write(statements, order, single_statement)
        self._start()
        self._waiting.put(write)
        write.done.wait()
        if write.error is not None:
            raise write.error
        return cast(T, write.result)

    def _start(self) -> None:
        """Start the thread. Not before the first write: a process forked after it would have none."""
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="group-commit", daemon=True)
                    self._thread.start()

    def _run(self) -> None:
        while True:
            batch = [self._waiting.get()]
            while len(batch) < MAX_BATCH and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            batch.sort(key=lambda write: write.order)
            self._commit(batch)

    def _commit(self, batch: list[_Write[Any]]) -> None:
        try:
            outcomes = self._database.writer_thread.call(self._commit_together, batch)
        except TransactionRolledBack as error:
            self._commit_singly(batch, error)
        except DatabaseUnavailable as error:
            for write in batch:
                write.finish(error=_copy(error))
        except BaseException as error:
            self._commit_singly(batch, error)
        else:
            for write, (result, failure) in zip(batch, outcomes, strict=True):
                write.finish(result, failure)

    def _commit_together(self, batch: list[_Write[Any]]) -> list[tuple[Any, GatewayError | None]]:
        single_statement = len(batch) == 1 and batch[0].single_statement
        with self._database.connection(single_statement=single_statement) as connection:
            return [_outcome(write, connection) for write in batch]

    def _commit_singly(self, batch: list[_Write[Any]], error: BaseException) -> None:
        """One bad write rolls a whole batch back: each gets a transaction of its own."""
        if len(batch) == 1:
            batch[0].finish(error=error)
            return
        log.warning("Committing %d writes one by one: %s", len(batch), type(error).__name__)
        for write in batch:
            self._commit([write])


def _outcome(write: _Write[Any], connection: Connection) -> tuple[Any, GatewayError | None]:
    try:
        return write.statements(connection), None
    except DatabaseUnavailable:
        raise
    except GatewayError as error:
        return None, error


def _copy(error: DatabaseUnavailable) -> DatabaseUnavailable:
    """Each waiting thread raises an exception of its own: a traceback grows with each raise."""
    copy = type(error)()
    copy.__cause__ = error.__cause__
    return copy
