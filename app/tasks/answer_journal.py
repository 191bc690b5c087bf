"""Journal of answers: those that could not be written while the store was unavailable, in files, replayed later.

It makes an answer durable before its images are charged, also while the database is down.
"""

from __future__ import annotations

import json
import logging
from contextlib import closing
from dataclasses import asdict
from datetime import datetime
from typing import Any

from app.errors import DatabaseUnavailable, OutcomeUnknown
from app.objects.file_objects import FileObjects
from app.objects.store import ObjectMissing, ObjectsUnavailable
from app.tasks.body import StreamedBody
from app.tasks.task import Answer, BodyTooLarge, Task, TaskStore, error_answer

log = logging.getLogger(__name__)

_ENTRY, _BODY = ".json", ".body"


class AnswerJournal:
    """Two objects an answer: `{task id}.body`, and after it `{task id}.json` with everything else."""

    def __init__(self, objects: FileObjects) -> None:
        self._objects = objects
        self._logged: set[str] = set()

    def add(self, task: Task, answer: Answer, *, keep: bool) -> None:
        """Write an answer; it is on disk when this returns. Raises `ObjectsUnavailable` or `OSError`."""
        self._objects.folder.mkdir(parents=True, exist_ok=True)
        entry = {
            "task": asdict(task) | {"created_at": task.created_at.isoformat()},
            "http_status": answer.http_status,
            "headers": dict(answer.headers),
            "code": answer.code,
            "keep": keep,
            "size": len(answer.body),
        }
        text = json.dumps(entry).encode()
        self._objects.write(task.id + _BODY, answer.body, len(answer.body))
        self._objects.write(task.id + _ENTRY, [text], len(text))

    def replay(self, store: TaskStore) -> None:
        """Write each answer to the store, and delete its entry. Several workers may replay at once.

        Raises `DatabaseUnavailable`. An entry that cannot be written is kept, and logged once.
        """
        for name in self._entries():
            try:
                self._apply(store, name)
            except DatabaseUnavailable:
                raise
            except ObjectMissing:  # another worker has replayed it
                continue
            except ObjectsUnavailable as error:  # the next ones would wait as long for the store of bodies
                self._log_once(name, error)
                return
            except Exception as error:
                self._log_once(name, error)

    def _log_once(self, name: str, error: Exception) -> None:
        if name not in self._logged:
            self._logged.add(name)
            log.error("Answer cannot be replayed; kept", exc_info=error)

    def _entries(self) -> list[str]:
        if not self._objects.folder.is_dir():  # nothing was ever written
            return []
        try:
            return [info.name for info in self._objects.entries() if info.name.endswith(_ENTRY)]
        except ObjectsUnavailable:
            return []

    def _apply(self, store: TaskStore, name: str) -> None:
        entry: dict[str, Any] = json.loads(b"".join(self._objects.read(name)))
        task = Task(**entry["task"] | {"created_at": datetime.fromisoformat(entry["task"]["created_at"])})
        body_name = task.id + _BODY
        with closing(self._objects.read(body_name)) as chunks:
            body = StreamedBody(chunks, entry["size"])
            answer = Answer(entry["http_status"], body, entry["headers"], entry["code"])
            try:
                store.finish(task, answer, keep=entry["keep"])
            except BodyTooLarge:  # AMUX_ANSWER_BYTES was lowered
                log.critical("Answer of the journal larger than AMUX_ANSWER_BYTES")
                store.finish(task, error_answer(OutcomeUnknown()), keep=True)
        self._objects.delete(name)
        self._objects.delete(body_name)
