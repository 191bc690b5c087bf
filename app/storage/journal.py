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
from pathlib import Path
from typing import Any

from app.errors import StorageUnavailable

log = logging.getLogger(__name__)


class JournalUnusable(SystemExit):
    """Ends the start: Python prints the message on stderr and exits with status 1."""


class Journal:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def check_folder(self) -> None:
        """Raises `JournalUnusable`: a folder that cannot be written would be found out when money hangs on it."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._folder):
                pass
        except OSError as error:
            raise JournalUnusable(
                f"The gateway cannot start: AMUX_JOURNAL_FOLDER cannot be written to ({error.strerror})."
            ) from None

    def add(self, kind: str, piece_id: str, fields: dict[str, Any]) -> None:
        """On the disk when this returns: written aside, synced, and put in place whole. Raises `OSError`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{kind}-{piece_id}.json"
        aside = path.with_suffix(".new")
        with aside.open("w") as file:
            json.dump(fields, file)
            file.flush()
            os.fsync(file.fileno())
        aside.rename(path)
        _sync_folder(self._folder)
        log.warning("Kept in the journal until the database is back: %s %s", kind, piece_id)

    def bring_in(self, land: Mapping[str, Callable[[dict[str, Any]], object]]) -> int:
        """Gives each piece to the function for its kind, and forgets it once that has returned. How many there were.

        Raises `StorageUnavailable` where the database is still gone. A piece that cannot land stays, and no other
        waits for it.
        """
        landed = 0
        for path in sorted(self._folder.glob("*-*.json")):
            try:
                land[path.name.partition("-")[0]](json.loads(path.read_text()))
            except FileNotFoundError:  # another process was faster
                continue
            except StorageUnavailable:
                raise
            except Exception:
                log.exception("The journal has a piece that cannot land: %s", path.name)
                continue
            path.unlink(missing_ok=True)
            landed += 1
        return landed


def _sync_folder(folder: Path) -> None:
    """Without it, a machine that loses its power may forget the file's name."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
