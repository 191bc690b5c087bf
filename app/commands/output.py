"""Prints rows as an aligned table, JSON or CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypeVar

import click

Row = Mapping[str, Any]
OutputFormat = Literal["table", "json", "csv"]
F = TypeVar("F", bound=Callable[..., Any])


def output_options(*formats: OutputFormat) -> Callable[[F], F]:
    """Options like `--json`, passed as the argument `output_format`. The last one on the command line wins."""

    def add(command: F) -> F:
        for name in reversed(formats):
            option = click.option(f"--{name}", "output_format", flag_value=name, help=f"Prints {name.upper()}.")
            command = option(command)
        return command

    return add


def print_rows(rows: Sequence[Row], output_format: OutputFormat | None, columns: Sequence[str]) -> None:
    """Print a table unless a format is given. JSON has every field of a row, tables and CSV only `columns`."""
    if output_format == "json":
        print_json([_for_json(row) for row in rows])
    elif output_format == "csv":
        click.echo(_as_csv(rows, columns), nl=False)
    else:
        click.echo(_as_table(rows, columns))


def print_row(row: Row, output_format: OutputFormat | None) -> None:
    """Print one field a line unless the format is JSON."""
    if output_format == "json":
        print_json(_for_json(row))
    else:
        width = max(map(len, row))
        click.echo("\n".join(f"{name:<{width}}  {_text(value) or '-'}" for name, value in row.items()))


def print_json(document: Any) -> None:
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def _for_json(row: Row) -> dict[str, Any]:
    return {name: _text(value) if isinstance(value, datetime) else value for name, value in row.items()}


def _as_csv(rows: Sequence[Row], columns: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_text(row[column]) for column in columns] for row in rows)
    return text.getvalue()


def _as_table(rows: Sequence[Row], columns: Sequence[str]) -> str:
    lines = [list(columns), *([_text(row[column]) or "-" for column in columns] for row in rows)]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _text(value: Any) -> str:
    match value:
        case None:
            return ""
        case datetime():
            return value.strftime("%Y-%m-%dT%H:%M:%SZ")
        case list():
            return ",".join(value)
        case _:
            return str(value)
