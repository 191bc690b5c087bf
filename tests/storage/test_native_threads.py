"""SQLite in native threads beside gevent: SQLAlchemy's first use, which takes locks, must not be in two at once."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.databases import ScratchDatabase
from tests.support.processes import ROOT

SECONDS = 60

ROUNDS = 500  # without `initialize`, one in some dozens hung
PROGRAM = """
from gevent import monkey
monkey.patch_all()
import sys
import gevent
from sqlalchemy import text
from app.storage.database import Database

def read():
    with database.connection(read_only=True) as connection:
        return connection.scalar(text("SELECT 1"))

for _ in range(int(sys.argv[2])):
    database = Database(sys.argv[1])
    database.initialize()
    readers = [gevent.spawn(database.reader_threads.call, read) for _ in range(3)]
    gevent.joinall(readers, timeout=10, raise_error=True)
    assert [reader.value for reader in readers] == [1, 1, 1]
    for threads in (database.reader_threads, database.writer_thread):
        threads._pool.kill()
    database.engine.dispose()
"""


@pytest.mark.parametrize("test_db", ["sqlite"], indirect=True)
def test_the_first_requests_at_once_are_all_answered(test_db: ScratchDatabase) -> None:
    command = [sys.executable, "-c", PROGRAM, test_db.url, str(ROUNDS)]
    subprocess.run(command, cwd=ROOT, timeout=SECONDS, check=True)
