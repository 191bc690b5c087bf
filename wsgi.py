"""The entry point for gunicorn (`gunicorn wsgi:app`) and other WSGI servers, and for `flask --app wsgi …`."""

import logging
import os

from app import create_app
from app.server.json_logging import configure_logging
from app.settings import Settings

if os.environ.get("FLASK_RUN_FROM_CLI") == "true":  # set by `flask`: the operator's commands, which serve nobody
    logging.getLogger("app").setLevel(logging.CRITICAL)  # what a command has to say, it prints
    from app.commands.app import create_commands

    app = create_commands(Settings.from_env(serving=False))
else:
    settings = Settings.from_env()
    configure_logging(settings.log_level)
    app = create_app(settings)
