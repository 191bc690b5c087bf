"""Workers for `gunicorn --worker-class` in tests: one with short timeouts, one that boots slowly."""

from __future__ import annotations

import time

from gunicorn.workers import gthread

from app.server.worker import EnvelopeWorker

gthread.DEFAULT_WORKER_DATA_TIMEOUT = 0.1


class ShortTimeoutWorker(EnvelopeWorker):
    pass


class SlowSecondWorker(EnvelopeWorker):
    """Every worker but the first boots slowly."""

    def init_process(self) -> None:
        if self.age > 1:
            time.sleep(3600)
        super().init_process()
