"""The README's promises: its commands are run, and its tables compared with the code's."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.errors import GatewayFull, StorageFull
from app.minimax.status import STATUS_CODES, WITHOUT_CODE
from app.services.aspect_ratio import SIZES
from tests.sdk.test_node_sdk import FOLDER, NODE
from tests.support.processes import API_KEY, ROOT, Served

README = (ROOT / "README.md").read_text()
BASE_URL = "http://127.0.0.1:8000"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


CURLS = [block for block in blocks("sh") if block.startswith("curl")]


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
    assert len(CURLS) == README.count("curl http") >= 5


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
    for ours in (GatewayFull, StorageFull):
        assert told.pop(ours.code) == (ours.http_status, ours.should_retry)
    assert told == {code: (verdict.http_status, verdict.should_retry) for code, verdict in WITHOUT_CODE.items()}


def test_the_table_of_sizes_is_the_codes() -> None:
    told = {size.strip("`"): ratio.strip("`") for sizes, ratio in rows("size")[:-1] for size in sizes.split(", ")}
    assert told == SIZES
