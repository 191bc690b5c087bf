"""A gateway in front of a fake MiniMax; both are started once a test process (`pair`)."""

from __future__ import annotations

import pytest

from tests.support.fake_minimax import ScriptedServer
from tests.support.gateway_and_upstream import Pair
from tests.support.processes import Served


@pytest.fixture
def upstream(pair: Pair) -> ScriptedServer:
    """MiniMax behind `gateway`, as new: it has received nothing and answers with one picture."""
    return pair.renewed()


@pytest.fixture
def gateway(pair: Pair, upstream: ScriptedServer) -> Served:
    """A real gunicorn in front of `upstream`."""
    return pair.gateway
