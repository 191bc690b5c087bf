"""Owns `usage`: what one key did, request by request or summed up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date

import click

from app.commands.arguments import between, days
from app.commands.opening import with_storage
from app.commands.output import Style, print_rows, styles
from app.storage.storage import Storage

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
        storage: Storage, name: str, start: date | None, end: date | None, totals: bool, style: Style | None
    ) -> None:
        """One line a request; `charged` is in micro-units."""
        found = storage.keys.get(name)
        period = between(start, end)
        if totals:
            print_rows([asdict(total) for total in storage.usage.totals(found.id, *period)], style, TOTALS)
        else:
            rows: Sequence[object] = storage.usage.rows(found.id, *period)
            named = [{column: getattr(row, column, None) for column in COLUMNS} | {"key": found.name} for row in rows]
            print_rows(named, style, COLUMNS)

    usage.params.insert(0, key)
    return usage


usage = usage_command(click.Option(["--key", "name"], required=True, help="A key's name or prefix."))
