"""`upstream`: the state of MiniMax's keys, and how many calls wait for their turn with one."""

from __future__ import annotations

import dataclasses
import math
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import click
from flask.cli import with_appcontext

from app.commands.output import OutputFormat, Row, output_options, print_json, print_rows
from app.commands.storage_context import settings
from app.pacing.sqlite_store import SqliteStore
from app.pacing.store import KeyState, PacerStore, StoreUnavailable
from app.settings import Settings

COLUMNS = ("key", "rate", "begun", "room", "state", "code", "seconds")
SHARED = "all"  # the name of all instances that share one Redis


@dataclass(frozen=True)
class Instance:
    """Instances are named by their port. `waiting` is how many calls wait for their turn."""

    instance: str
    waiting: int
    keys: Sequence[KeyState]


@click.command()
@output_options("json")
@with_appcontext
def upstream(output_format: OutputFormat | None) -> None:
    """The state of MiniMax's keys: calls begun in this minute, room left, and why a key rests.

    `rate` and `room` are `-` (`null` in JSON) for a key without a rate.
    """
    found = _read(settings())
    if output_format == "json":
        print_json([{**dataclasses.asdict(instance), "keys": _rows(instance)} for instance in found])
        return
    for number, instance in enumerate(found):
        click.echo("\n" * bool(number) + f"instance {instance.instance}, calls waiting: {instance.waiting}")
        print_rows(_rows(instance), None, COLUMNS)


def _rows(instance: Instance) -> list[Row]:
    return [_row(state) for state in instance.keys]


def _row(state: KeyState) -> Row:
    rate, rest = state.rate or None, state.rest
    return {
        "key": state.fingerprint,
        "rate": rate,
        "begun": state.started if rate else None,
        "room": None if rate is None else 0 if rest else max(rate - state.started, 0),
        "state": rest.reason if rest else "healthy",
        "code": rest.code if rest else None,
        "seconds": math.ceil(rest.seconds) if rest else None,
    }


def _read(chosen: Settings) -> list[Instance]:
    """Raises `click.ClickException` for everything that the operator can fix."""
    if chosen.redis_url:
        return [_read_redis(chosen.redis_url)]
    return [_read_file(file) for file in _state_files(chosen.state_folder)]


def _read_redis(url: str) -> Instance:
    from app.pacing.redis_store import RedisStore  # here: a gateway without Redis does not load its client

    try:
        with closing(RedisStore(url, None)) as store:
            found = _state_of(store, SHARED)
    except StoreUnavailable as error:
        why = error.__cause__
        raise click.ClickException(
            f"Redis is unavailable ({type(why).__name__}), so each instance paces its keys alone. To see this "
            "machine's instances, run the command with REDIS_URL empty."
        ) from None
    if not found.keys:
        raise click.ClickException("Redis has no upstream keys yet: no gateway with this REDIS_URL has had a call.")
    return found


def _state_files(folder: str) -> list[Path]:
    path = Path(folder).absolute()
    advice = "set AMUX_STATE_FOLDER as the gateway has it."
    if not os.path.isdir(path):  # unlike the method of `Path`, it never raises
        raise click.ClickException(f"There is no folder {path}: {advice}")
    _check_access(path, os.R_OK | os.X_OK)
    files = sorted(path.glob("upstream-*.db"))
    if not files:
        raise click.ClickException(f"No gateway has been started with {path}: {advice}")
    return files


def _check_access(path: Path, mode: int) -> None:
    if not os.access(path, mode, effective_ids=True):
        raise click.ClickException(f"{path} cannot be opened: run the command as the gateway's user.")


def _read_file(file: Path) -> Instance:
    _check_access(file, os.R_OK | os.W_OK)
    try:
        with closing(SqliteStore(file)) as store:
            return _state_of(store, file.stem.removeprefix("upstream-"))
    except (StoreUnavailable, sqlite3.Error) as error:
        reason = error.__cause__ if isinstance(error, StoreUnavailable) else error
        raise click.ClickException(f"{file} cannot be read: {reason}") from None


def _state_of(store: PacerStore, name: str) -> Instance:
    return Instance(name, store.waiting(), store.key_states())
