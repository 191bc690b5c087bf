"""Objects in chunks in a table of PostgreSQL, so that all machines can read the answers."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from datetime import timedelta
from itertools import chain

from sqlalchemy import delete, func, insert, select

from app.objects.store import Chunks, ObjectInfo, ObjectMissing, check_name
from app.storage.database import Database
from app.storage.task_tables import CHUNKS
from app.storage.times import now


class PostgresqlObjects:
    """Implements `app.objects.store.ObjectStore`, but for its errors, which are those of `Database`.

    An empty object is none.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def write(self, name: str, chunks: Iterable[bytes], size: int) -> None:
        check_name(name)
        written = 0
        with self._database.connection() as connection:
            connection.execute(delete(CHUNKS).where(CHUNKS.c.name == name))
            for position, data in enumerate(chunks):
                connection.execute(insert(CHUNKS).values(name=name, position=position, data=data))
                written += len(data)
            if written != size:
                raise ValueError(f"an object of {size} bytes has {written}")

    def read(self, name: str) -> Chunks:
        chunks = self._chunks(check_name(name))
        first = next(chunks, None)
        if first is None:
            raise ObjectMissing(name)
        rest = chain([first], chunks)
        return Chunks(lambda: next(rest, b""), chunks.close)

    def delete(self, name: str) -> None:
        with self._database.connection() as connection:
            connection.execute(delete(CHUNKS).where(CHUNKS.c.name == name))

    def names_older_than(self, seconds: float) -> Iterator[str]:
        before = now() - timedelta(seconds=seconds)
        with self._database.connection(read_only=True) as connection:
            names = connection.scalars(select(CHUNKS.c.name).where(CHUNKS.c.created_at < before).distinct()).all()
        return iter(names)

    def entries(self) -> Iterator[ObjectInfo]:
        size, modified = func.sum(func.length(CHUNKS.c.data)), func.max(CHUNKS.c.created_at)
        with self._database.connection(read_only=True) as connection:
            rows = connection.execute(select(CHUNKS.c.name, size, modified).group_by(CHUNKS.c.name)).all()
        return (ObjectInfo(name, int(size), modified.timestamp()) for name, size, modified in rows)

    def _chunks(self, name: str) -> Generator[bytes, None, None]:
        position = 0
        while (chunk := self._chunk(name, position)) is not None:
            yield chunk
            position += 1

    def _chunk(self, name: str, position: int) -> bytes | None:
        query = select(CHUNKS.c.data).where(CHUNKS.c.name == name, CHUNKS.c.position == position)
        with self._database.connection(read_only=True) as connection:
            return connection.scalar(query)
