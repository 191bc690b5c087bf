"""The gateway's gunicorn.conf.py with the gevent worker, which must patch before the app is loaded."""

import runpy

from gevent import monkey

monkey.patch_all()

globals().update({name: value for name, value in runpy.run_path("gunicorn.conf.py").items() if name[0] != "_"})
worker_class = "gevent"
worker_connections = 4096
