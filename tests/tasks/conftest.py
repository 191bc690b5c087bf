"""A store, a journal and a supervisor that is not started."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.native_thread import NativeThreads
from app.objects.file_objects import FileObjects
from app.storage.database import Database
from app.storage.task_store import SqlTaskStore
from app.tasks.answer_journal import AnswerJournal
from app.tasks.supervisor import Supervisor
from tests.support.task_stores import open_objects, open_task_store


@pytest.fixture
def store(database: Database, tmp_path: Path) -> SqlTaskStore:
    return open_task_store(database, open_objects(database, tmp_path / "answers"))


@pytest.fixture
def journal(tmp_path: Path) -> AnswerJournal:
    return AnswerJournal(FileObjects(tmp_path / "journal", NativeThreads(0)))


@pytest.fixture
def supervisor(store: SqlTaskStore, journal: AnswerJournal) -> Supervisor:
    """Not started: its threads never end."""
    return Supervisor(store, journal)
