"""Journal (outbox): writes postponed while the database is unavailable, one file each, replayed later.

Each entry has an id that makes applying it twice the same as applying it once, so that several processes may replay the
same folder at the same time.
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
from app.native_thread import NativeThreads
from app.objects.file_objects import sync_folder

log = logging.getLogger(__name__)

_DISK = NativeThreads(4)  # an fsync may take seconds


class JournalUnusable(SystemExit):
    """Ends the start: Python prints the message on stderr and exits with status 1."""


@dataclass(frozen=True)
class ReplayResult:
    """How many entries were applied, and how many cannot be."""

    applied: int
    failed: int


class Journal:
    """Entries in `folder`, named `{kind}-{entry id}.json`. The kinds are `end` (a settlement) and `usage` (a row)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._logged: set[str] = set()

    def check_folder(self) -> None:
        """Create the folder if it is missing. Raises `JournalUnusable` if it cannot be written."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            raise JournalUnusable(
                f"The gateway cannot start: AMUX_JOURNAL_FOLDER cannot be written to ({error.strerror})."
            ) from None

    def add(self, kind: str, entry_id: str, fields: dict[str, Any], *, request_id: str) -> None:
        """Write an entry. It is complete and synced to disk when this returns. Raises `OSError`.

        `kind` selects the function that replays it. `fields` must be JSON values. `request_id` is only logged.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{kind}-{entry_id}.json"
        _DISK.call(_write_durably, path, json.dumps(fields))
        log.warning("Journaled %s for request %s: database unavailable", path.name, request_id)

    def replay(self, apply: Mapping[str, Callable[[dict[str, Any]], object]]) -> ReplayResult:
        """Pass the fields of each entry to the function for its kind, and delete the entry when that returns.

        Raises `DatabaseUnavailable` if the function does. An entry that fails otherwise is kept, is logged once by each
        process, and does not delay others.
        """
        applied = failed = 0
        for path in self._entries():
            try:
                apply[path.name.partition("-")[0]](json.loads(path.read_text()))
            except FileNotFoundError:  # another process has replayed it
                continue
            except DatabaseUnavailable:
                raise
            except Exception:
                failed += 1
                if path.name not in self._logged:
                    self._logged.add(path.name)
                    log.exception("Journal entry %s cannot be replayed; kept", path.name)
                continue
            path.unlink(missing_ok=True)
            applied += 1
        if applied:
            log.warning("Replayed %d journal entries", applied)
        return ReplayResult(applied, failed)

    def waiting(self) -> int:
        """How many entries there are."""
        return len(self._entries())

    def _entries(self) -> list[Path]:
        return sorted(self.folder.glob("*-*.json"))


def _write_durably(path: Path, text: str) -> None:
    temporary = path.with_suffix(".new")
    try:
        with temporary.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
