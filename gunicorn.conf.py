"""gunicorn settings of the gateway, which `gunicorn wsgi:app` reads from the working directory."""

# isort: off
import gevent
from gevent import monkey

gevent.config.track_greenlet_tree = False  # else each greenlet keeps the stack that spawned it, which takes a kilobyte
monkey.patch_all()  # before anything imports a socket, a lock or a thread
# isort: on

import atexit
import gc
import os
import resource
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any

# Workers share their metrics through files. prometheus_client reads the folder's name when it is imported.
if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = _folder = tempfile.mkdtemp(prefix="amux-metrics-")
    _master = os.getpid()

    @atexit.register
    def _remove_folder() -> None:
        if os.getpid() == _master:
            shutil.rmtree(_folder, ignore_errors=True)


from gunicorn.http.unreader import SocketUnreader
from prometheus_client.multiprocess import mark_process_dead

from app.server.worker import EnvelopeWorker
from app.settings import Settings

_settings = Settings.from_env()

bind = f"{_settings.host}:{_settings.port}"
backlog = 2048
workers = _settings.web_concurrency
worker_class = EnvelopeWorker
EnvelopeWorker.client_timeout = _settings.client_timeout_seconds
# The default of 1 MiB is copied twice per read, which is most of what an upload costs.
SocketUnreader.max_body_chunk = 192 * 1024

# Beside the calls in flight there are idle connections, health checks and rejections. The kernel distributes
# connections unevenly, so each worker is sized to hold a whole burst by itself.
worker_connections = 4 * (_settings.max_calls + 64)

# Calls in flight have been paid for: a stop waits for the slowest of them, plus time to send its response.
graceful_timeout = int(_settings.minimax_timeout_seconds) + 30
# Seconds. Must exceed nginx's keepalive_timeout of 1 s (deploy/nginx.conf) and gunicorn's 2 s for a stopping worker.
keepalive = 75

# Load the app once in the master: a configuration error is reported once, and workers share the app's memory.
preload_app = True
control_socket_disable = True
# The worker's sockets hold a head back until its body comes, and have deadlines; sendfile bypasses both.
sendfile = False
# At debug level gunicorn logs parts of requests, such as half a header with the key in it.
loglevel = "info" if _settings.log_level == "DEBUG" else _settings.log_level.lower()

# Each call in flight uses two connections, and the usual soft limit is 1,024.
_hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (_hard_limit, _hard_limit))

# A call leaves some hundred objects in cycles. At Python's default of 700 the collector took a sixth of the CPU.
GC_THRESHOLD = 10_000
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGQUIT, signal.SIGINT)


def when_ready(_server: Any) -> None:
    """Freeze startup objects so that the garbage collector neither scans them nor copies their pages into workers."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)


def post_fork(server: Any, _worker: Any) -> None:
    """Handle a stop signal that arrives while a worker boots; the handlers inherited from the master would drop it."""
    for stop_signal in _STOP_SIGNALS:
        signal.signal(stop_signal, signal.SIG_DFL)
    while not server.SIG_QUEUE.empty():
        if server.SIG_QUEUE.get_nowait() in _STOP_SIGNALS:
            raise SystemExit


def on_starting(_server: Any) -> None:
    """Check the schema and the journal's folder once at startup instead of failing every request."""
    if _settings.database_url:
        from app.storage.database import Database
        from app.storage.journal import Journal

        database = Database(_settings.database_url)
        database.check_schema()
        database.engine.dispose()
        Journal(Path(_settings.journal_folder)).check_folder()


def post_worker_init(worker: Any) -> None:
    """Prepare the database, and start the maintenance threads: neither would survive the fork."""
    storage = worker.wsgi.extensions.get("storage")
    if storage:
        storage.database.initialize()
        storage.maintenance.start()
    supervisor = worker.wsgi.extensions.get("task_supervisor")
    if supervisor:
        supervisor.start()
    image_maintenance = worker.wsgi.extensions.get("image_maintenance")
    if image_maintenance:
        image_maintenance.start()


def child_exit(_server: Any, worker: Any) -> None:
    """Remove a dead worker's gauges, such as its calls in flight."""
    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
