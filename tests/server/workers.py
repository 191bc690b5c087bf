"""The gateway's worker with less patience, for `gunicorn --worker-class`: what takes five seconds takes a tenth."""

from __future__ import annotations

import time

from gunicorn.workers import gthread

from app.server.worker import EnvelopeWorker

gthread.DEFAULT_WORKER_DATA_TIMEOUT = 0.1


class ShortTimeoutWorker(EnvelopeWorker):
    pass


class SlowSecondWorker(EnvelopeWorker):
    """Only the first one boots at once."""

    def init_process(self) -> None:
        if self.age > 1:
            time.sleep(3600)
        super().init_process()
