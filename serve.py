"""Runs gunicorn: `python serve.py wsgi:app` is `gunicorn wsgi:app` with a readable error for a wrong WEB_CONCURRENCY.

gunicorn parses that variable when it is imported, and ends with a traceback if it is not a number. Here the import does
not see it. gunicorn.conf.py sets the number of workers, and reports every wrong setting in one message.
"""

from __future__ import annotations

import os

if __name__ == "__main__":
    web_concurrency = os.environ.pop("WEB_CONCURRENCY", None)
    from gunicorn.app.wsgiapp import run

    if web_concurrency is not None:
        os.environ["WEB_CONCURRENCY"] = web_concurrency
    run(prog="gunicorn")
