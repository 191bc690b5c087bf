"""How gunicorn serves the sandbox: on loopback only, in one process, which keeps the pictures."""

import os

bind = f"127.0.0.1:{os.environ['SANDBOX_PORT']}"
workers = 1
worker_class = "gthread"
threads = 320
control_socket_disable = True
graceful_timeout = 210  # as the gateway's own by default: a stop of both loses no answer between them
loglevel = "warning"
