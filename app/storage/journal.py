"""Owns what could not be written while the database was gone: kept in files, one each, until it lands.

Each piece has an id of its own that makes landing twice the same as landing once, so that any number of processes may
bring in the same folder at the same time.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.errors import DatabaseUnavailable

log = logging.getLogger(__name__)


class JournalUnusable(SystemExit):
    """Ends the start: Python prints the message on stderr and exits with status 1."""


@dataclass(frozen=True)
class ReplayResult:
    """How many pieces landed, and how many cannot."""

    applied: int
    failed: int


class Journal:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._told: set[str] = set()

    def check_folder(self) -> None:
        """Raises `JournalUnusable`: a folder that cannot be written would be found out when money hangs on it."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            raise JournalUnusable(
                f"The gateway cannot start: AMUX_JOURNAL_FOLDER cannot be written to ({error.strerror})."
            ) from None

    def add(self, kind: str, entry_id: str, fields: dict[str, Any], *, request_id: str) -> None:
        """On the disk when this returns: written aside, synced, and put in place whole. Raises `OSError`.

        `request_id` is for the log alone.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{kind}-{entry_id}.json"
        aside = path.with_suffix(".new")
        try:
            with aside.open("w") as file:
                json.dump(fields, file)
                file.flush()
                os.fsync(file.fileno())
            aside.rename(path)
        except OSError:
            aside.unlink(missing_ok=True)
            raise
        _sync_folder(self.folder)
        log.warning("Journaled %s for request %s: database unavailable", path.name, request_id)

    def replay(self, apply: Mapping[str, Callable[[dict[str, Any]], object]]) -> ReplayResult:
        """Gives each piece to the function for its kind, and forgets it once that has returned.

        Raises `DatabaseUnavailable` where the database is still gone. A piece that cannot land stays, no other waits
        for it, and it is told of once.
        """
        applied = failed = 0
        for path in self._entries():
            try:
                apply[path.name.partition("-")[0]](json.loads(path.read_text()))
            except FileNotFoundError:  # another process was faster
                continue
            except DatabaseUnavailable:
                raise
            except Exception:
                failed += 1
                if path.name not in self._told:
                    self._told.add(path.name)
                    log.exception("Journal entry %s cannot be replayed; kept", path.name)
                continue
            path.unlink(missing_ok=True)
            applied += 1
        if applied:
            log.warning("Replayed %d journal entries", applied)
        return ReplayResult(applied, failed)

    def waiting(self) -> int:
        """How many pieces there are."""
        return len(self._entries())

    def _entries(self) -> list[Path]:
        return sorted(self.folder.glob("*-*.json"))


def _sync_folder(folder: Path) -> None:
    """Without it, a machine that loses its power may forget the file's name."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
