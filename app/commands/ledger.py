"""Owns `ledger …`: read, checked and swept."""

from __future__ import annotations

from datetime import date

import click
from flask.cli import AppGroup

from app.commands.arguments import between, days
from app.commands.output import Style, print_json, print_rows, styles
from app.commands.storage_context import with_storage
from app.storage.storage import Storage

KINDS = ("credit", "reserve", "settle", "release", "unknown")
COLUMNS = ("created_at", "key", "kind", "amount", "charged", "request_id", "trace_id", "note")
MISMATCH = ("name", "balance", "entries")
BROKEN = (
    "These balances are not the sum of their entries: as calls write both in one transaction, somebody or something "
    "else has changed the rows. Stop the gateways, make a backup, and read all entries of each key: "
    "ledger list --key NAME --start 2000-01-01"
)

ledger = AppGroup("ledger", help="What was reserved, charged and credited.")


@ledger.command("list")
@click.option("--key", "name", help="A key's name or prefix; without it, all keys.")
@click.option("--kind", type=click.Choice(KINDS))
@days
@styles("json", "csv")
@with_storage
def list_entries(
    storage: Storage, name: str | None, kind: str | None, start: date | None, end: date | None, style: Style | None
) -> None:
    """Entries in their order. A balance is the sum of all `amount`s; `unknown` is what MiniMax may have drawn."""
    key_id = storage.keys.get(name).id if name is not None else None
    entries = storage.ledger.entries(*between(start, end), key_id=key_id, kind=kind)
    names = {key.id: key.name for key in storage.keys.all()}  # after them: a key may be made meanwhile
    rows = [
        {column: getattr(entry, column, None) for column in COLUMNS} | {"key": names[entry.key_id]} for entry in entries
    ]
    print_rows(rows, style, COLUMNS)


@ledger.command()
@styles("json")
@with_storage
def check(storage: Storage, style: Style | None) -> None:
    """Whether each balance is the sum of its entries. Exit status 1, and the keys where it is not, if not."""
    wrong = [
        {"name": storage.keys.by_id(found.key_id).name, "balance": found.balance, "entries": int(found.entries)}
        for found in storage.ledger.check()
    ]
    if wrong:
        click.echo(BROKEN, err=True)
    if wrong or style == "json":
        print_rows(wrong, style, MISMATCH)
    else:
        click.echo("The ledger adds up.")
    if wrong:
        raise SystemExit(1)


@ledger.command()
@styles("json")
@with_storage
def sweep(storage: Storage, style: Style | None) -> None:
    """Does at once what the gateway does every 5 seconds: the journal, and reservations that nobody will end."""
    folder = storage.journal.folder
    if not folder.is_dir():  # it would look as if nothing waited
        raise click.ClickException(
            f"There is no folder {folder.absolute()}: set AMUX_JOURNAL_FOLDER as the gateway has it."
        )
    done = storage.maintenance.run()
    if style == "json":
        print_json({"landed": done.applied, "stuck": done.failed, "swept": done.swept})
    else:
        click.echo(
            f"Brought in from the journal: {done.applied}. Left in it, as it cannot land: {done.failed}. "
            f"Reservations now unknown: {done.swept}."
        )
