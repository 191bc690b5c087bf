"""Runs the tools of `tests/openapi/requirements.txt`, which have an environment of their own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.processes import ROOT

FOLDER = ROOT / ".venv" / "openapi-tools"
needs_tools = pytest.mark.skipif(
    not (FOLDER / ".installed").exists(), reason="the tools of OpenAPI are missing: run scripts/install-test-tools"
)


def run_tool(name: str, *arguments: str, cwd: Path, seconds: float, **variables: str) -> str:
    """The output of a program of the environment. Fails with it, unless the exit status is 0."""
    environment = {**os.environ, "PATH": f"{FOLDER / 'bin'}{os.pathsep}{os.environ['PATH']}", "NO_PROXY": "*"}
    done = subprocess.run(
        [FOLDER / "bin" / name, *arguments],
        cwd=cwd,
        env=environment | variables,
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
