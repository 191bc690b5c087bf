"""`usage`: requests of one key or of all keys, one by one or as totals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date

import click

from app.commands.arguments import period, period_options
from app.commands.output import OutputFormat, Row, output_options, print_rows
from app.commands.storage_context import with_storage
from app.storage.storage import Storage

Query = Callable[[int, date, date], Sequence[object]]

COLUMNS = (
    *("created_at", "key", "request_id", "endpoint", "model", "asked", "delivered", "charged"),
    *("status", "code", "milliseconds", "trace_id"),
)
TOTAL_COLUMNS = ("day", "model", "requests", "asked", "delivered", "charged")


def usage_command(key: click.Parameter) -> click.Command:
    """The command `usage`. `key` is its argument or option for the key, passed as `name`."""

    @click.command("usage")
    @period_options
    @click.option("--totals", is_flag=True, help="Totals by day and model.")
    @output_options("json", "csv")
    @with_storage
    def usage(
        storage: Storage,
        name: str | None,
        start: date | None,
        end: date | None,
        totals: bool,
        output_format: OutputFormat | None,
    ) -> None:
        """One line a request; `charged` is in micro-units. JSON also tells how each answer was taken."""
        keys = storage.keys.all() if name is None else [storage.keys.get(name)]
        days = period(start, end)
        query: Query = storage.usage.totals if totals else storage.usage.rows
        columns: tuple[str, ...] = TOTAL_COLUMNS if totals else COLUMNS
        if name is None:
            columns = ("key", *(column for column in columns if column != "key"))
        rows = [_row(key.name, found, (*columns, "taken")) for key in keys for found in query(key.id, *days)]
        print_rows(rows, output_format, columns)

    usage.params.insert(0, key)
    return usage


KEY_HELP = "A key's name or prefix; without it, all keys, and each line begins with its key."
usage = usage_command(click.Option(["--key", "name"], help=KEY_HELP))


def _row(key: str, found: object, columns: Sequence[str]) -> Row:
    return {column: key if column == "key" else getattr(found, column) for column in columns}
