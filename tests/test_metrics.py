"""The exposition while a worker is creating its file; tests/integration/test_metrics.py has the metrics themselves."""

from __future__ import annotations

import struct
import threading
from pathlib import Path

import pytest

from app import metrics


@pytest.fixture
def empty_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A worker's file, as it is between its creation and the first write."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    file = tmp_path / "counter_1.db"
    file.touch()
    return file


def test_a_file_that_is_being_created_is_waited_for(empty_file: Path) -> None:
    timer = threading.Timer(0.05, empty_file.write_bytes, [bytes(64)])
    timer.start()
    assert metrics.exposition() == b""
    timer.join()


def test_a_file_that_stays_empty_is_an_error(empty_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "EMPTY_FILE_PAUSE_SECONDS", 0)
    with pytest.raises(struct.error):
        metrics.exposition()
