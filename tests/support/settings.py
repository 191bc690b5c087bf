"""Settings that tests of a gateway share."""

from __future__ import annotations

import tempfile
from typing import Any

# No rate of calls to MiniMax, no rests of keys, and a folder of this process for the state of upstream keys.
UNPACED: dict[str, Any] = {
    "minimax_requests_per_minute": 0,
    "rest_keys": False,
    "state_folder": tempfile.mkdtemp(prefix="amux-state-"),
}
