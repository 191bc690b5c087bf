"""`ledger …`: lists and checks the ledger, and runs maintenance."""

from __future__ import annotations

from datetime import date

import click
from flask.cli import AppGroup

from app.commands.arguments import period, period_options
from app.commands.output import OutputFormat, output_options, print_json, print_rows
from app.commands.storage_context import with_storage
from app.storage.storage import Storage

KINDS = ("credit", "reserve", "settle", "release", "unknown")
COLUMNS = ("created_at", "key", "kind", "amount", "charged", "request_id", "trace_id", "note")
MISMATCH_COLUMNS = ("name", "balance", "entries")
MISMATCH_ADVICE = (
    "These balances are not the sum of their entries. The gateway writes both in one transaction, so something "
    "else has changed the rows. Stop the gateways, make a backup, and read all entries of each key: "
    "ledger list --key NAME --start 2000-01-01"
)

ledger = AppGroup("ledger", help="What was reserved, charged and credited.")


@ledger.command("list")
@click.option("--key", "name", help="A key's name or prefix; without it, all keys.")
@click.option("--kind", type=click.Choice(KINDS))
@period_options
@output_options("json", "csv")
@with_storage
def list_entries(
    storage: Storage,
    name: str | None,
    kind: str | None,
    start: date | None,
    end: date | None,
    output_format: OutputFormat | None,
) -> None:
    """Lists entries in order. A balance is the sum of its amounts. `unknown`: MiniMax may have drawn the images."""
    key_id = storage.keys.get(name).id if name is not None else None
    entries = storage.ledger.entries(*period(start, end), key_id=key_id, kind=kind)
    names = {
        key.id: key.name for key in storage.keys.all()
    }  # read after the entries, so that it has every key of theirs
    rows = [
        {column: getattr(entry, column, None) for column in COLUMNS} | {"key": names[entry.key_id]} for entry in entries
    ]
    print_rows(rows, output_format, COLUMNS)


@ledger.command()
@output_options("json")
@with_storage
def check(storage: Storage, output_format: OutputFormat | None) -> None:
    """Checks that each balance is the sum of its entries; lists the keys where it is not, with exit status 1."""
    wrong = [
        {"name": storage.keys.by_id(found.key_id).name, "balance": found.balance, "entries": int(found.entries)}
        for found in storage.ledger.check()
    ]
    if wrong:
        click.echo(MISMATCH_ADVICE, err=True)
    if wrong or output_format == "json":
        print_rows(wrong, output_format, MISMATCH_COLUMNS)
    else:
        click.echo("The ledger adds up.")
    if wrong:
        raise SystemExit(1)


@ledger.command()
@output_options("json")
@with_storage
def sweep(storage: Storage, output_format: OutputFormat | None) -> None:
    """Runs now what the gateway runs every 5 seconds: replays the journal and sweeps stale reservations."""
    folder = storage.journal.folder
    if not folder.is_dir():  # it would count as an empty journal
        raise click.ClickException(
            f"There is no folder {folder.absolute()}: set AMUX_JOURNAL_FOLDER as the gateway has it."
        )
    report = storage.maintenance.run()
    if output_format == "json":
        print_json({"landed": report.applied, "stuck": report.failed, "swept": report.swept})
    else:
        click.echo(
            f"Replayed from the journal: {report.applied}. Kept, as they cannot be replayed: {report.failed}. "
            f"Reservations now unknown: {report.swept}."
        )
