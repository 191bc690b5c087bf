"""Journal entries are complete, are replayed once, and are kept until they have been applied."""

from __future__ import annotations

import errno
import json
import logging
import os
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.errors import DatabaseUnavailable
from app.storage.journal import Journal, JournalUnusable, ReplayResult


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "missing" / "journal"


def usage_row(key_id: int, **columns: Any) -> dict[str, Any]:
    row = {
        "id": uuid.uuid4().hex,
        "key_id": key_id,
        "created_at": datetime.now(UTC).isoformat(),
        "request_id": "a-request",
        "endpoint": "/v1/images/generations",
        "model": "MiniMax-Image-01",
        "asked": 1,
        "delivered": 1,
        "charged": 100,
        "status": 200,
        "code": None,
        "milliseconds": 5,
        "trace_id": None,
    }
    return row | columns


def test_replayed_entries_are_deleted(folder: Path) -> None:
    journal = Journal(folder)
    applied: list[dict[str, Any]] = []
    assert journal.replay({}) == ReplayResult(0, 0)
    journal.add("end", "1", {"a": 1}, request_id="a-request")
    journal.add("usage", "2", {"b": "ü"}, request_id="a-request")
    assert sorted(path.name for path in folder.iterdir()) == ["end-1.json", "usage-2.json"]
    assert json.loads((folder / "end-1.json").read_text()) == {"a": 1}
    assert journal.replay({"end": applied.append, "usage": applied.append}) == ReplayResult(2, 0)
    assert applied == [{"a": 1}, {"b": "ü"}]
    assert list(folder.iterdir()) == []


def test_incomplete_entry_is_not_replayed(folder: Path) -> None:
    journal = Journal(folder)
    journal.add("end", "1", {}, request_id="a-request")
    (folder / "end-2.new").write_text('{"reservation_id": "ha')
    assert journal.replay({"end": lambda _: None}) == ReplayResult(1, 0)


def test_failed_write_leaves_no_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        Journal(folder).add("end", "1", {}, request_id="a-request")
    assert list(folder.iterdir()) == []


def test_entries_are_kept_while_the_database_is_unavailable(folder: Path) -> None:
    journal = Journal(folder)
    journal.add("end", "1", {}, request_id="a-request")
    journal.add("end", "2", {}, request_id="a-request")

    def fail(_: Mapping[str, Any]) -> None:
        raise DatabaseUnavailable

    with pytest.raises(DatabaseUnavailable):
        journal.replay({"end": fail})
    assert len(list(folder.iterdir())) == 2


def test_failing_entry_is_kept_and_does_not_block_others(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal(folder)
    applied: list[dict[str, Any]] = []
    for number in range(3):
        journal.add("end", str(number), {"number": number}, request_id="a-request")
    (folder / "end-0.json").write_text("no JSON")
    journal.add("other", "x", {}, request_id="a-request")
    assert journal.replay({"end": applied.append}) == ReplayResult(2, 2)
    assert [entry["number"] for entry in applied] == [1, 2]
    assert journal.replay({"end": applied.append}) == ReplayResult(0, 2)  # not logged again
    assert journal.waiting() == 2
    assert sorted(path.name for path in folder.iterdir()) == ["end-0.json", "other-x.json"]
    failures = [record.levelno for record in caplog.records if "cannot be replayed" in record.message]
    assert failures == [logging.ERROR] * 2


def test_unwritable_folder_is_an_error_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalUnusable, match="AMUX_JOURNAL_FOLDER cannot be written to"):
        Journal(tmp_path / "file" / "journal").check_folder()
    Journal(tmp_path / "new" / "journal").check_folder()
    assert list((tmp_path / "new" / "journal").iterdir()) == []
