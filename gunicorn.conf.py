"""How gunicorn serves the gateway; picked up by plain `gunicorn wsgi:app`."""

import atexit
import gc
import os
import resource
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any

# Workers share their metrics through files. prometheus_client must find the folder when it is imported.
if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = _folder = tempfile.mkdtemp(prefix="amux-metrics-")
    _master = os.getpid()

    @atexit.register
    def _remove_folder() -> None:
        if os.getpid() == _master:
            shutil.rmtree(_folder, ignore_errors=True)


from prometheus_client.multiprocess import mark_process_dead

from app.server.worker import EnvelopeWorker
from app.settings import Settings

_settings = Settings.from_env()

bind = f"{_settings.host}:{_settings.port}"
backlog = 2048
workers = _settings.web_concurrency
worker_class = EnvelopeWorker
EnvelopeWorker.transfer_seconds = _settings.transfer_seconds

# A call is a thread that waits. The spare ones keep health checks and refusals quick when every slot is taken.
# The kernel does not share connections out evenly, so one worker alone must be able to hold a whole wave.
threads = _settings.max_calls + 64
worker_connections = 4 * threads

# The calls in flight have been paid for: a stop waits for the slowest of them, and a little for the answer.
graceful_timeout = int(_settings.minimax_timeout_seconds) + 30
# Seconds. nginx gives an idle connection up after 1, and a stopping worker after 2: each before the next.
keepalive = 75

# Configured once in the master: a fault is said once, and workers share the app's memory.
preload_app = True
control_socket_disable = True
# At debug, gunicorn quotes what callers sent: half a head, with the key in it.
loglevel = "info" if _settings.log_level == "DEBUG" else _settings.log_level.lower()

# A held call is two connections, and the usual soft limit is 1,024.
_hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (_hard_limit, _hard_limit))

_STOPS = (signal.SIGTERM, signal.SIGQUIT, signal.SIGINT)


def when_ready(_server: Any) -> None:
    """What lives for ever is not walked by the garbage collector, nor copied by it into every worker."""
    gc.collect()
    gc.freeze()


def post_fork(server: Any, _worker: Any) -> None:
    """A stop that comes while a worker boots: the master's own handlers, which a worker is born with, would lose it."""
    for order in _STOPS:
        signal.signal(order, signal.SIG_DFL)
    while not server.SIG_QUEUE.empty():
        if server.SIG_QUEUE.get_nowait() in _STOPS:
            raise SystemExit


def on_starting(_server: Any) -> None:
    """A database with another schema is said now, in one line, and not by every request."""
    if _settings.database_url:
        from app.storage.database import Database
        from app.storage.journal import Journal

        database = Database(_settings.database_url)
        database.check_schema()
        database.engine.dispose()
        Journal(Path(_settings.journal_folder)).check_folder()


def post_worker_init(worker: Any) -> None:
    storage = worker.wsgi.extensions.get("storage")
    if storage:
        storage.maintenance.start()


def child_exit(_server: Any, worker: Any) -> None:
    """A dead worker holds no calls."""
    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
