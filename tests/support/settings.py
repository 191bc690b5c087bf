"""Settings that tests of a gateway share."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_parents: list[Path] = []


@pytest.fixture(scope="session", autouse=True)
def state_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Where `unpaced` makes folders. They are removed at the end of this process's tests."""
    _parents.append(tmp_path_factory.mktemp("state"))
    yield
    shutil.rmtree(_parents.pop(), ignore_errors=True)


def unpaced() -> dict[str, Any]:
    """No rate of calls to MiniMax, no rests of keys, and a state folder that no other app has."""
    return {"minimax_requests_per_minute": 0, "rest_keys": False, "state_folder": tempfile.mkdtemp(dir=_parents[-1])}
