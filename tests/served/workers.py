"""The gateway's worker with less patience, for `gunicorn --worker-class`: what takes a minute takes a second."""

from __future__ import annotations

from gunicorn.workers import gthread

from app.server import EnvelopeWorker

gthread.DEFAULT_WORKER_DATA_TIMEOUT = 0.1


class ImpatientWorker(EnvelopeWorker):
    idle_seconds = 1
