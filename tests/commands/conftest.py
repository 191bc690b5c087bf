"""Runs commands in this process, on both databases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

import pytest
from click.testing import Result

from app.commands.app import create_commands
from app.settings import Settings
from tests.support.databases import ScratchDatabase


class Operator(Protocol):
    def __call__(self, *arguments: str) -> Result: ...


def operator_of(url: str | None, journal_folder: Path) -> Operator:
    settings = Settings(api_keys=(), minimax_api_key="", database_url=url, journal_folder=str(journal_folder))
    runner = create_commands(settings).test_cli_runner()

    def invoke(*arguments: str) -> Result:
        return runner.invoke(args=list(arguments))

    return invoke


@pytest.fixture
def operator(test_db: ScratchDatabase, tmp_path: Path) -> Operator:
    return operator_of(test_db.url, tmp_path / "journal")


def printed(result: Result) -> str:
    """Stdout of a command that must succeed and print nothing on stderr."""
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    return result.stdout


def document(result: Result) -> Any:
    return json.loads(printed(result))


def failure(result: Result) -> str:
    """The one-line message of a command that must fail."""
    assert (result.exit_code, result.stdout) == (1, ""), result.output
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr.removeprefix("Error: ").rstrip("\n")


def misuse(result: Result) -> str:
    """The message of a command that must fail with a usage error."""
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    return result.stderr.splitlines()[-1].removeprefix("Error: ")
