"""Runs the SQL of the task store on the database, with SQLAlchemy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeVar

from sqlalchemy import Connection, TextClause, bindparam, text

from app.storage.database import Database
from app.storage.tables import UtcDateTime
from app.storage.task_executor import Row, Run
from app.storage.writer import Writer

T = TypeVar("T")


class DatabaseExecutor:
    """Implements `app.storage.task_executor.TaskExecutor`."""

    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer
        self.skip_locked = "FOR UPDATE SKIP LOCKED" if database.engine.dialect.name == "postgresql" else ""

    def write(self, statements: Callable[[Run], T]) -> T:
        return self._writer.write(lambda connection: statements(_runner(connection)))

    def read(self, sql: str, values: Mapping[str, Any]) -> Sequence[Row]:
        def read() -> Sequence[Row]:
            with self._database.connection(read_only=True) as connection:
                return _runner(connection)(sql, values)

        return self._database.reader_threads.call(read)


def _runner(connection: Connection) -> Run:
    def run(sql: str, values: Mapping[str, Any]) -> Sequence[Row]:
        times = tuple(name for name, value in values.items() if isinstance(value, datetime))
        result = connection.execute(_statement(sql, times), dict(values))
        return result.mappings().all() if result.returns_rows else ()

    return run


@lru_cache(1000)
def _statement(sql: str, times: tuple[str, ...]) -> TextClause:
    """Parameters without a type are passed to the driver as they are; SQLite's needs help with times."""
    return text(sql).bindparams(*(bindparam(name, type_=UtcDateTime()) for name in times))
