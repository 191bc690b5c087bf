"""Owns the app that `flask --app wsgi` finds: commands, and no route."""

from __future__ import annotations

from flask import Flask

from app.commands.database import db
from app.commands.keys import keys
from app.commands.ledger import ledger
from app.commands.usage import usage
from app.settings import Settings


def create_commands(settings: Settings) -> Flask:
    """Only what `settings` say of the storage matters here: a command needs no key of MiniMax's and no price."""
    app = Flask(__name__, static_folder=None)
    app.config["SETTINGS"] = settings
    for command in (db, keys, ledger, usage):
        app.cli.add_command(command)
    return app
