"""The README's promises: its commands are run, and its tables compared with the code's."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from flask.testing import FlaskClient
from werkzeug.exceptions import RequestTimeout

from app.commands.app import create_commands
from app.errors import (
    DatabaseUnavailable,
    GatewayError,
    GatewayFull,
    InsufficientBalance,
    RateLimited,
    SpoolFull,
    UsageQueryLimit,
)
from app.minimax.error_codes import STATUS_CODES, WITHOUT_CODE
from app.schemas.aspect_ratio import SIZES
from app.server.worker import PROTOCOL_ERRORS
from app.settings import Settings
from app.web.body_limits import MAX_BODY_BYTES
from tests.deploy.test_nginx_words import nginx_codes
from tests.integration.test_run import running
from tests.sdk.test_node_sdk import FOLDER, NODE
from tests.support.processes import API_KEY, ROOT, Served, environment
from tests.support.request_encodings import EDITS, GENERATIONS

README = (ROOT / "README.md").read_text()
BASE_URL = "http://127.0.0.1:8000"
NO_PROXY = {"NO_PROXY": "*", "no_proxy": "*"}  # loopback is asked directly, whatever the machine says


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


# A walk-through: its blocks are run one after the other, by one shell.
MONEY = README.split("## Keys, limits and money\n")[1].split("\n## ")[0]
CURLS = [block for block in blocks("sh", README.replace(MONEY, "")) if block.startswith("curl")]


def run(command: list[str], served: Served) -> str:
    """What the command prints; it runs in the repository, as a reader would."""
    environment = {**os.environ, "AMUX_API_KEY": API_KEY}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing: apt-get install curl")
@pytest.mark.parametrize("block", CURLS)
def test_every_curl_line_works(block: str, served: Served) -> None:
    printed = json.loads(run(["sh", "-c", block.replace(BASE_URL, served.url)], served))
    if "sandbox:1026" in block:
        assert printed["error"]["code"] == "1026"
    else:
        assert all({"url", "id"} & set(item) for item in printed["data"])
        assert printed["data"]


def test_the_curl_lines_were_found() -> None:
    assert len(CURLS) == README.replace(MONEY, "").count("curl http") >= 5


def test_the_python_example_works(served: Served) -> None:
    [example] = blocks("python")
    url, length = run([sys.executable, "-c", example.replace(BASE_URL, served.url)], served).split()
    assert url.startswith("http://")
    assert int(length) > 1000


@pytest.mark.skipif(not (FOLDER / "node_modules" / "openai").is_dir(), reason="run scripts/install-test-tools")
def test_the_node_example_works(served: Served, tmp_path: Path) -> None:
    [example] = blocks("js")
    script = tmp_path / "example.mjs"
    script.write_text(example.replace(BASE_URL, served.url))
    (tmp_path / "node_modules").symlink_to(FOLDER / "node_modules")
    first, second = run([str(NODE), str(script)], served).split()
    assert first.startswith("http://")
    assert second.startswith("http://")


def rows(header: str) -> list[list[str]]:
    """The cells of the table whose first line begins with `header`."""
    table = README.split(f"\n| {header} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def test_the_table_of_codes_is_the_codes() -> None:
    told = {
        int(code): (int(status), retried == "yes")
        for codes, _, status, retried in rows("MiniMax's code")
        if codes != "any other"
        for code in codes.split(", ")
    }
    assert told == {code: (verdict.http_status, verdict.should_retry) for code, verdict in STATUS_CODES.items()}


def test_the_table_of_the_wires_failures_is_the_codes() -> None:
    told = {
        code.strip("`"): (int(status), retried == "yes") for _, code, status, retried in rows("without MiniMax's code")
    }
    for ours in (
        GatewayFull,
        SpoolFull,
        UsageQueryLimit,
        RateLimited,
        InsufficientBalance,
        DatabaseUnavailable,
        GatewayError,
    ):
        assert told.pop(ours.code) == (ours.http_status, ours.should_retry)
    assert told == {code: (verdict.http_status, verdict.should_retry) for code, verdict in WITHOUT_CODE.items()}


CALLERS_OWN: dict[str, dict[str, Any]] = {
    "bad_request": {"data": "{}", "content_type": "application/json", "environ_overrides": {"CONTENT_LENGTH": "3"}},
    "invalid_value": {"json": {"model": "image-01", "prompt": "a", "n": 10}},
    "invalid_json": {"data": "{", "content_type": "application/json"},
    "invalid_form": {"path": EDITS, "data": b"--b\r\n", "content_type": "multipart/form-data; boundary=b"},
    "invalid_api_key": {"headers": {"Authorization": "Bearer unknown"}},
    "model_not_authorized": {"json": {"model": "image-01-live", "prompt": "a"}},
    "not_found": {"path": "/images/generations"},
    "model_not_found": {"path": "/v1/models/dall-e-3", "method": "GET"},
    "method_not_allowed": {"method": "GET"},
    "request_entity_too_large": {"data": b" " * (MAX_BODY_BYTES + 1), "content_type": "application/json"},
    "unsupported_media_type": {"data": "a", "content_type": "text/plain"},
}


def test_the_table_of_the_callers_own_faults_is_what_they_are_told(client: FlaskClient) -> None:
    told = {code.strip("`"): int(status) for _, code, status in rows("the caller's own, never retried")}
    assert told.pop("request_timeout") == RequestTimeout.code  # takes a second: see tests/served
    for refusal in PROTOCOL_ERRORS.values():
        assert told.pop(refusal.code) == refusal.status  # before there is a request: see tests/served
    assert set(told) == set(CALLERS_OWN)
    for code, asked in CALLERS_OWN.items():
        answer = client.open(**{"path": GENERATIONS, "method": "POST"} | asked)
        assert (answer.status_code, answer.get_json()["error"]["code"]) == (told[code], code)
        assert answer.headers["x-should-retry"] == "false"


def test_the_tables_have_every_code_of_nginxs() -> None:
    """Some are the gateway's too, and mean the same there."""
    own = rows("what only nginx says")
    told = {
        code.strip("`"): {(status, retried == "yes") for status in statuses.split(", ")}
        for _, code, statuses, retried in [
            *rows("without MiniMax's code"),
            *([*row, "no"] for row in rows("the caller's own, never retried")),
            *own,
        ]
    }
    codes = nginx_codes()
    codes["nginx_refused"] = {("any other", retried) for _, retried in codes["nginx_refused"]}
    assert {code: told.get(code) for code in codes} == codes
    assert {code.strip("`") for _, code, *_ in own} <= set(codes)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing: apt-get install curl")
def test_the_walk_through_of_keys_and_money(tmp_path: Path) -> None:
    """Three are drawn, the fourth is refused and says why, topped up it is drawn, and all of it is in the books."""
    first, *rest = (
        block.replace("sqlite:///amux.db", f"sqlite:///{tmp_path}/amux.db") for block in blocks("sh", MONEY)
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
    quoted = re.search(r"\*(The\s+balance.*?)\*", MONEY, re.DOTALL)
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


def test_the_table_of_commands_is_the_commands() -> None:
    told = {
        " ".join(re.findall(r"^[a-z ]+", name)).strip()
        for cell, _ in rows("command")
        for name in re.findall(r"`([a-z][^`]*)`", cell)
    }
    ours = {
        f"{name} {sub}".strip()
        for name, command in create_commands(Settings((), "")).cli.commands.items()
        for sub in (command.commands if isinstance(command, click.Group) else [""])
    }
    assert told == ours - {"keys usage"}  # the same as `usage`


def test_the_table_of_sizes_is_the_codes() -> None:
    told = {size.strip("`"): ratio.strip("`") for sizes, ratio in rows("size")[:-1] for size in sizes.split(", ")}
    assert told == SIZES
