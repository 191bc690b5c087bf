"""Flask app for `flask --app wsgi`: it has the commands and no route."""

from __future__ import annotations

from flask import Flask

from app.commands.database import db
from app.commands.images import images
from app.commands.keys import keys
from app.commands.ledger import ledger
from app.commands.upstream import upstream
from app.commands.usage import usage
from app.settings import Settings


def create_commands(settings: Settings) -> Flask:
    """The commands need no MiniMax key and no prices."""
    app = Flask(__name__, static_folder=None)
    app.config["SETTINGS"] = settings
    for command in (db, images, keys, ledger, upstream, usage):
        app.cli.add_command(command)
    return app
