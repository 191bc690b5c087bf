"""Owns `usage`: what one key did, or each of them, request by request or summed up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date

import click

from app.commands.arguments import between, days
from app.commands.output import Row, Style, print_rows, styles
from app.commands.storage_context import with_storage
from app.storage.storage import Storage

Ask = Callable[[int, date, date], Sequence[object]]

COLUMNS = (
    *("created_at", "key", "request_id", "endpoint", "model", "asked", "delivered", "charged"),
    *("status", "code", "milliseconds", "trace_id"),
)
TOTALS = ("day", "model", "requests", "asked", "delivered", "charged")


def usage_command(key: click.Parameter) -> click.Command:
    """The command, told which key by `key`, whose argument is `name`."""

    @click.command("usage")
    @days
    @click.option("--totals", is_flag=True, help="Summed up by day and model.")
    @styles("json", "csv")
    @with_storage
    def usage(
        storage: Storage, name: str | None, start: date | None, end: date | None, totals: bool, style: Style | None
    ) -> None:
        """One line a request; `charged` is in micro-units."""
        keys = storage.keys.all() if name is None else [storage.keys.get(name)]
        period = between(start, end)
        ask: Ask = storage.usage.totals if totals else storage.usage.rows
        columns: tuple[str, ...] = TOTALS if totals else COLUMNS
        if name is None:
            columns = ("key", *(column for column in columns if column != "key"))
        rows = [_row(key.name, found, columns) for key in keys for found in ask(key.id, *period)]
        print_rows(rows, style, columns)

    usage.params.insert(0, key)
    return usage


WHICH = "A key's name or prefix; without it, all keys, and each line begins with its key."
usage = usage_command(click.Option(["--key", "name"], help=WHICH))


def _row(key: str, found: object, columns: Sequence[str]) -> Row:
    return {column: key if column == "key" else getattr(found, column) for column in columns}
