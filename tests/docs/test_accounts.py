"""docs/accounts.md: its walk-through runs, and its tables match the commands and the ledger."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from app.commands.app import create_commands
from app.commands.ledger import KINDS
from app.openapi.response_schemas import UsageRequestSchema
from app.settings import Settings
from tests.docs.markdown import BASE_URL, blocks, names, read, rows
from tests.integration.test_run import running
from tests.support.processes import ROOT, environment

ACCOUNTS = read("docs/accounts.md")
NO_PROXY = {"NO_PROXY": "*", "no_proxy": "*"}  # connect to loopback directly, whatever the machine's proxy
COMMANDS = rows(ACCOUNTS, "command | purpose")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing: apt-get install curl")
def test_the_walk_through_of_keys_and_money(tmp_path: Path) -> None:
    """Three calls succeed, the fourth is rejected and says why, succeeds after a top-up, and the ledger has it all."""
    first, *rest = (
        block.replace("sqlite:///amux.db", f"sqlite:///{tmp_path}/amux.db") for block in blocks("sh", ACCOUNTS)
    )
    exports, run_line = first.splitlines()
    assert run_line == "make run"
    [chosen] = [dict(pair.split("=", 1) for pair in exports.removeprefix("export ").split())]
    with running(tmp_path, **chosen, AMUX_JOURNAL_FOLDER=str(tmp_path)) as started:
        assert "keys create --name" in started.printed
        lines = "set -e\n" + "".join(rest).replace(BASE_URL, started.url).replace("curl ", "curl -sS ")
        done = subprocess.run(
            ["sh", "-c", lines], cwd=ROOT, env=environment(**NO_PROXY), capture_output=True, text=True, timeout=60
        )
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^HTTP/1.1 (\d+)", done.stdout, re.MULTILINE) == ["200", "200", "200", "429", "200"]
    assert re.findall(r"^x-amux-balance: (\d+)", done.stdout, re.MULTILINE) == ["7000", "3500", "0", "0", "0"]
    quoted = re.search(r"\*(The\s+balance.*?)\*", ACCOUNTS, re.DOTALL)
    assert quoted is not None
    assert " ".join(quoted[1].split()) in done.stdout
    assert "The balance of harbour is 3500." in done.stdout
    [usage] = [json.loads(line) for line in re.findall(r'\{"object":"usage".*\}', done.stdout)]
    assert (usage["balance"], usage["limits"]["images_per_minute"]) == (0, 10)
    assert [(total["requests"], total["delivered"], total["charged"]) for total in usage["data"]] == [(5, 4, 14000)]
    kinds = re.findall(r"^\S+Z +harbour +(\w+) ", done.stdout, re.MULTILINE)
    assert kinds == ["credit", *["reserve", "settle"] * 3, "credit", "reserve", "settle"]
    assert len(re.findall(r"^\S+Z,harbour,", done.stdout, re.MULTILINE)) == 5
    assert done.stdout.endswith("The ledger adds up.\n")


def commands() -> Iterator[tuple[str, click.Command]]:
    for name, command in create_commands(Settings((), "")).cli.commands.items():
        if isinstance(command, click.Group):
            yield from ((f"{name} {sub}", subcommand) for sub, subcommand in command.commands.items())
        else:
            yield name, command


def test_the_table_of_commands_matches_the_commands() -> None:
    documented = [
        re.findall(r"^[a-z ]+", name)[0].strip()
        for cell, _ in COMMANDS
        for name in names(cell)
        if not name.startswith("-")
    ]
    expected = {name for name, _ in commands()} - {"keys usage"}  # the same as `usage`
    assert sorted(documented) == sorted(expected), "edit docs/accounts.md, table 'command', or app/commands"


def test_every_option_of_the_commands_is_documented() -> None:
    options = {option for _, command in commands() for each in command.params for option in each.opts if "--" in option}
    text = " ".join(name for name in re.findall(r"`([^`\n]+)`", ACCOUNTS))
    documented = set(re.findall(r"--[a-z-]+", text)) - {"--app"}  # flask's own
    assert options <= documented, f"edit docs/accounts.md, table 'command': {sorted(options - documented)} is missing"
    assert documented <= options, f"edit docs/accounts.md: no command has {sorted(documented - options)}"


def test_the_table_of_ledger_entries_matches_the_kinds() -> None:
    documented = [name for cell, *_ in rows(ACCOUNTS, "ledger entry | when") for name in names(cell)]
    assert sorted(documented) == sorted(KINDS), "edit docs/accounts.md, table 'ledger entry', or app/commands/ledger.py"


def test_the_table_of_a_request_matches_its_schema() -> None:
    documented = [name for cell, *_ in rows(ACCOUNTS, "field | content") for name in names(cell)]
    assert sorted(documented) == sorted(UsageRequestSchema._declared_fields), "edit docs/accounts.md, table 'field'"
