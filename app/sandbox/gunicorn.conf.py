"""gunicorn configuration of the sandbox: loopback only, one process, which stores the images."""

import os

bind = f"127.0.0.1:{os.environ['SANDBOX_PORT']}"
workers = 1
worker_class = "gthread"
threads = 320
preload_app = True  # a wrong variable is reported once, in one line
control_socket_disable = True
graceful_timeout = 210  # the gateway's default, so that stopping both at once loses no response
loglevel = "warning"
