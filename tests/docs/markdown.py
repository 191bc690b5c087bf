"""Reads the documents: code blocks, table rows, headings."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from tests.support.processes import API_KEY, ROOT, Served

BASE_URL = "http://127.0.0.1:8000"


def read(path: str) -> str:
    """The document at `path`, relative to the repository."""
    return (ROOT / path).read_text()


def blocks(language: str, text: str) -> list[str]:
    """The code blocks in `language`, in their order."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def rows(text: str, header: str) -> list[list[str]]:
    """The cells of the one table whose header line begins with `header`."""
    [_, rest] = text.split(f"\n| {header} |")
    table = rest.split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in table]


def names(cell: str) -> list[str]:
    """The words of a cell that are set as code: "`a`, `b`" is ["a", "b"]."""
    return re.findall(r"`([^`]*)`", cell)


def run_example(command: list[str], served: Served, cwd: Path = ROOT) -> str:
    """The output of a documented command against `served`, run in the repository as a reader would."""
    environment = {**os.environ, "AMUX_API_KEY": API_KEY}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_curl(block: str, served: Served) -> str:
    """The output of a documented curl command, sent to `served`."""
    return run_example(["sh", "-c", block.replace(BASE_URL, served.url)], served)
