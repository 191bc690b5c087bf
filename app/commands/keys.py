"""`keys …`: creates, lists, changes, credits and revokes API keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any, TypeVar

import click
from flask.cli import AppGroup
from sqlalchemy.exc import IntegrityError

from app.accounts.key_limits import RATE_LIMITS, KeyLimits
from app.commands.arguments import MAX_MONEY, Expiry, Label, Limit, Models, Money, OptionalChoice, is_given
from app.commands.output import OutputFormat, Row, output_options, print_json, print_row, print_rows
from app.commands.storage_context import settings, with_storage
from app.commands.usage import usage_command
from app.model_catalog import RESPONSE_FORMATS
from app.storage.api_keys import fingerprint_of
from app.storage.storage import Storage
from app.storage.tables import ApiKey
from app.storage.times import now

F = TypeVar("F", bound=Callable[..., Any])

keys = AppGroup("keys", help="Callers' API keys.")
keys.add_command(usage_command(click.Argument(["name"])))

COLUMNS = (
    *("name", "prefix", "state", "expires_at", "balance"),
    *(field.name for field in fields(KeyLimits)),
    "models",
)
EXPIRES_HELP = "In UTC, like 2027-01-31T18:00, or never. A day alone, like 2027-01-31, means 00:00."
RESPONSE_FORMAT_HELP = "Used for requests that send no response_format."


def key_options(command: F) -> F:
    """Options that `create` and `update` share, by the columns of `ApiKey`."""
    for option in (
        click.option("--response-format", type=OptionalChoice(RESPONSE_FORMATS), help=RESPONSE_FORMAT_HELP),
        click.option("--expires", "expires_at", type=Expiry(), help=EXPIRES_HELP),
        click.option("--max-calls", type=Limit(), help="Calls in flight, or none."),
        *(click.option(rate.option, rate.name, type=Limit(), help=rate.option_help) for rate in reversed(RATE_LIMITS)),
        click.option("--models", type=Models(), help="Names with commas between them, or all."),
    ):
        command = option(command)
    return command


@keys.command()
@click.option("--name", type=Label(max_chars=200), required=True)
@key_options
@click.option("--balance", type=Money(minimum=0), help="In micro-units. Without it, the key is not limited.")
@output_options("json")
@with_storage
def create(
    storage: Storage, /, name: str, balance: int | None, output_format: OutputFormat | None, **columns: Any
) -> None:
    """Creates a key and prints it. It cannot be printed again."""
    chosen = columns | {"models": columns["models"] or ""}
    try:
        secret = storage.keys.create(name, balance=balance, **chosen)
    except IntegrityError:
        raise click.ClickException(f"There is already a key {name}.") from None
    _warn_of_disabled(chosen["models"])
    if output_format == "json":
        print_json({"name": name, "api_key": secret})
    else:
        click.echo("The key is on stdout. It cannot be shown again.", err=True)
        click.echo(secret)


@keys.command("list")
@output_options("json", "csv")
@with_storage
def list_keys(storage: Storage, output_format: OutputFormat | None) -> None:
    """Lists all keys, revoked ones too."""
    print_rows([_row(key) for key in storage.keys.all()], output_format, COLUMNS)


@keys.command()
@click.argument("name")
@output_options("json")
@with_storage
def show(storage: Storage, name: str, output_format: OutputFormat | None) -> None:
    """Shows one key, by its name or prefix. `caller` is its fingerprint in the log."""
    print_row(_row(storage.keys.get(name)), output_format)


@keys.command()
@click.argument("name")
@key_options
@output_options("json")
@with_storage
def update(storage: Storage, /, name: str, output_format: OutputFormat | None, **columns: Any) -> None:
    """Changes the given options of a key. The balance changes by `credit`."""
    given = {option: value for option, value in columns.items() if is_given(option)}
    if not given:
        raise click.ClickException("Nothing to change: see --help.")
    storage.keys.update(name, **given)
    _warn_of_disabled(given.get("models", ""))
    print_row(_row(storage.keys.get(name)), output_format)


@keys.command()
@click.argument("name")
@with_storage
def revoke(storage: Storage, name: str) -> None:
    """Revokes a key for good. It stops working within 5 seconds."""
    key = storage.keys.get(name)
    if key.revoked_at is None:
        storage.keys.revoke(key.name)
    click.echo(f"{key.name} is revoked.")


@keys.command(context_settings={"ignore_unknown_options": True})  # a negative amount is not an option
@click.argument("name")
@click.argument("amount", type=Money(minimum=-MAX_MONEY))
@click.option("--note", type=Label(max_chars=128), metavar="TEXT", help="A note for the ledger.")
@output_options("json")
@with_storage
def credit(storage: Storage, name: str, amount: int, note: str | None, output_format: OutputFormat | None) -> None:
    """Adds AMOUNT micro-units, negative to take off, to the balance. A key without a balance gets one, for good."""
    key = storage.keys.get(name)
    if key.balance is None and amount <= 0:
        raise click.ClickException(
            f"{key.name} has no balance to take from: it spends without limit. For a balance of 0, create a new key."
        )
    try:
        balance = storage.ledger.credit(key.id, amount, note=note or "")
    except IntegrityError:
        left = storage.keys.by_id(key.id).balance
        raise click.ClickException(
            f"The balance of {key.name} is {left}: no more than that can be taken off."
        ) from None
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    if output_format == "json":
        print_json({"name": key.name, "balance": balance})
    elif key.balance is None:
        click.echo(f"{key.name} spent without limit until now; its balance is {balance}.")
    else:
        click.echo(f"The balance of {key.name} is {balance}.")


def _warn_of_disabled(models: str) -> None:
    """Warn of models that are not enabled. No error: the gateway may have other settings than the command.

    `models` is `ApiKey.models`: ids with commas between them.
    """
    enabled = {model.id for model in settings().enabled_models}
    disabled = [model for model in models.split(",") if model and model not in enabled]
    if disabled:
        names = ", ".join(disabled)
        click.echo(f"Not in AMUX_ENABLED_MODELS here: {names}. A gateway with the same settings rejects it.", err=True)


def _row(key: ApiKey) -> Row:
    return {
        "name": key.name,
        "prefix": key.prefix,
        "caller": fingerprint_of(key),
        "state": _state(key),
        "balance": key.balance,
        **asdict(key.limits),
        "models": key.models.split(",") if key.models else ["all"],
        "response_format": key.response_format,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
    }


def _state(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if _is_past(key.expires_at) else "active"


def _is_past(time: datetime | None) -> bool:
    return time is not None and time <= now()
