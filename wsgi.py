"""WSGI entry point: `gunicorn wsgi:app` and other WSGI servers, and `flask --app wsgi …` for operator commands."""

import logging
import os

from app import create_app
from app.server.json_logging import configure_logging
from app.settings import Settings, log_unknown_variables

if os.environ.get("FLASK_RUN_FROM_CLI") == "true":  # set by `flask`: operator commands, no server
    logging.getLogger("app").setLevel(logging.CRITICAL)  # commands print their output instead of logging it
    from app.commands.app import create_commands

    app = create_commands(Settings.from_env(require_secrets=False))
else:
    settings = Settings.from_env()
    configure_logging(settings.log_level)
    log_unknown_variables(os.environ)  # once: gunicorn.conf.py preloads this module in the master
    app = create_app(settings)
