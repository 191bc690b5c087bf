"""Opens the storage for a command; turns its errors into `ClickException`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec

import click
from flask import current_app
from flask.cli import with_appcontext
from sqlalchemy.exc import SQLAlchemyError

from app.errors import DatabaseUnavailable
from app.settings import Settings
from app.storage.api_keys import ApiKeyNotFound
from app.storage.database import CommitOutcomeUnknown, SchemaOutdated, reason
from app.storage.storage import Storage

P = ParamSpec("P")


def settings() -> Settings:
    """The settings that `create_commands` was given."""
    chosen: Settings = current_app.config["SETTINGS"]
    return chosen


def with_storage(command: Callable[Concatenate[Storage, P], None]) -> Callable[P, None]:
    """Decorator: passes the storage as the first argument, after checking that its schema is of this version."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with open_storage() as storage:
            storage.database.check_schema()
            command(storage, *args, **kwargs)

    return with_appcontext(run)


@contextmanager
def open_storage() -> Iterator[Storage]:
    """Open the storage of the settings. Raises `click.ClickException` for every error that the operator can fix."""
    url = settings().database_url
    if url is None:
        raise click.ClickException("DATABASE_URL must be set: keys, the ledger and usage are in there.")
    storage = _create_storage(settings(), url)
    try:
        yield storage
    except ApiKeyNotFound as error:
        raise click.ClickException(f"There is no key {error.args[0]}.") from None
    except CommitOutcomeUnknown as error:
        why = reason(error.__cause__)
        raise click.ClickException(f"The outcome is unknown: check before you run it again. {why}") from None
    except DatabaseUnavailable as error:
        raise click.ClickException(f"The database is unavailable: {reason(error.__cause__)}") from None
    except SchemaOutdated as error:
        message = str(error).removeprefix("The gateway cannot start: ")
        raise click.ClickException(message[:1].upper() + message[1:]) from None
    except SQLAlchemyError as error:
        raise click.ClickException(f"The database returned an error: {reason(error)}") from None
    finally:
        storage.database.engine.dispose()


def _create_storage(chosen: Settings, url: str) -> Storage:
    return Storage(
        url,
        prices={},  # commands make no calls
        journal_folder=Path(chosen.journal_folder),
        max_call_seconds=chosen.minimax_timeout_seconds,
        usage_days=chosen.usage_days,
        statement_timeout=False,
        group_commit=False,
    )
