"""Workers for `gunicorn --worker-class` in tests: one with short timeouts, one that boots slowly."""

from __future__ import annotations

import time

from app.server.worker import EnvelopeWorker


class ShortTimeoutWorker(EnvelopeWorker):
    pass


class SlowSecondWorker(EnvelopeWorker):
    """Every worker but the first boots slowly."""

    def init_process(self) -> None:
        if self.age > 1:
            time.sleep(3600)
        super().init_process()
