"""Owns `db …`: the database's schema."""

from __future__ import annotations

import click
from alembic import command
from flask.cli import AppGroup

from app.commands.storage_context import opened_storage, settings, with_storage
from app.storage.database import alembic_config
from app.storage.storage import Storage

db = AppGroup("db", help="The database's schema.")


@db.command()
def upgrade() -> None:
    """Brings the schema to this version. Without DATABASE_URL there is nothing to do, and that is no error."""
    if settings().database_url is None:  # a platform's release phase runs this whatever is set
        click.echo("DATABASE_URL is not set: there is no database to upgrade.")
        return
    with opened_storage() as storage:
        command.upgrade(alembic_config(storage.database.engine), "head")
    click.echo("The database's schema is up to date.")


@db.command()
@with_storage
def check(storage: Storage) -> None:
    """Whether the schema is of this version: exit status 1 if not."""
    click.echo("The database's schema is up to date.")
