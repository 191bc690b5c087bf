"""Waiting for what another thread or process does."""

from __future__ import annotations

import time
from collections.abc import Callable

WAIT_SECONDS = 60  # until a test gives up


def wait_until(holds: Callable[[], bool], what: str = "") -> None:
    give_up = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < give_up, f"never: {what}"
        time.sleep(0.02)
