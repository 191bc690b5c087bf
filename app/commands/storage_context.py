"""Owns how a command comes to the storage, and how what goes wrong there is told: in one line, with exit status 1."""

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
    chosen: Settings = current_app.config["SETTINGS"]
    return chosen


def with_storage(command: Callable[Concatenate[Storage, P], None]) -> Callable[P, None]:
    """Gives a command the storage as its first argument: there, and of this version."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with opened_storage() as storage:
            storage.database.check_schema()
            command(storage, *args, **kwargs)

    return with_appcontext(run)


@contextmanager
def opened_storage() -> Iterator[Storage]:
    """Raises `click.ClickException` for whatever the operator can mend."""
    url = settings().database_url
    if url is None:
        raise click.ClickException("DATABASE_URL must be set: keys, the ledger and usage are in there.")
    storage = _open(settings(), url)
    try:
        yield storage
    except ApiKeyNotFound as error:
        raise click.ClickException(f"There is no key {error.args[0]}.") from None
    except CommitOutcomeUnknown as error:
        why = reason(error.__cause__)
        raise click.ClickException(f"It may have been done, or not: look before you do it again. {why}") from None
    except DatabaseUnavailable as error:
        raise click.ClickException(f"The database cannot be asked: {reason(error.__cause__)}") from None
    except SchemaOutdated as error:
        words = str(error).removeprefix("The gateway cannot start: ")
        raise click.ClickException(words[:1].upper() + words[1:]) from None
    except SQLAlchemyError as error:
        raise click.ClickException(f"The database refused: {reason(error)}") from None
    finally:
        storage.database.engine.dispose()


def _open(chosen: Settings, url: str) -> Storage:
    return Storage(
        url,
        prices={},  # nobody draws here
        journal_folder=Path(chosen.journal_folder),
        max_call_seconds=chosen.minimax_timeout_seconds,
        usage_days=chosen.usage_days,
        statement_timeout=False,
    )
