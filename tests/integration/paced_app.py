"""A gateway with a short minute, for `gunicorn tests.integration.paced_app:app`.

`PACED_WINDOW_SECONDS` is in which the calls of an upstream key are counted, `PACED_DRAIN_SECONDS` how long calls wait
after SIGTERM. `PACED_MARGIN_SECONDS` is added to the window, as 1.2 seconds are to a minute: how unequally long a busy
machine takes from a turn to MiniMax's clock does not shrink with the window.
"""

from __future__ import annotations

import os

from app import components, create_app
from app.pacing import redis_store, sqlite_store
from app.server.json_logging import configure_logging
from app.settings import Settings

window_seconds = float(os.environ["PACED_WINDOW_SECONDS"])
for store in (sqlite_store, redis_store):
    store.WINDOW_MARGIN = float(os.environ["PACED_MARGIN_SECONDS"]) / window_seconds  # type: ignore[attr-defined]
components.QUEUE_DRAIN_SECONDS = float(os.environ.get("PACED_DRAIN_SECONDS", "20"))  # type: ignore[assignment]

settings = Settings.from_env()
configure_logging(settings.log_level)
app = create_app(settings, window_seconds=window_seconds)
