"""How gunicorn serves the gateway; picked up by plain `gunicorn wsgi:app`."""

from app.config import Settings
from app.server import EnvelopeWorker

_settings = Settings.from_env()

bind = f"{_settings.host}:{_settings.port}"
workers = _settings.web_concurrency
worker_class = EnvelopeWorker

# A call is a thread that waits. The spare ones keep health checks and refusals quick when every slot is taken.
# The kernel does not share connections out evenly, so one worker alone must be able to hold a whole wave.
threads = _settings.max_calls + 64
worker_connections = 4 * threads

# The calls in flight have been paid for: a stop waits for the slowest of them, and a little for the answer.
graceful_timeout = int(_settings.minimax_timeout_seconds) + 30
keepalive = 75  # seconds; above nginx's 60, so that nginx never reuses a connection that is being closed

# Configured once in the master: a fault is said once, and workers share the app's memory.
preload_app = True
control_socket_disable = True
# At debug, gunicorn quotes what callers sent: half a head, with the key in it.
loglevel = "info" if _settings.log_level == "DEBUG" else _settings.log_level.lower()
