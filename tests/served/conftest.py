"""A gateway for this room in front of MiniMax as a script: both are started once a test process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.pair import Pair, started_pair
from tests.support.processes import Served
from tests.support.scripted import ScriptedServer


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with started_pair(tmp_path_factory.mktemp("wire")) as pair:
        yield pair


@pytest.fixture
def upstream(pair: Pair) -> ScriptedServer:
    """MiniMax behind `gateway`, as new: it has received nothing and answers with one picture."""
    return pair.renewed()


@pytest.fixture
def gateway(pair: Pair, upstream: ScriptedServer) -> Served:
    """A real gunicorn in front of `upstream`."""
    return pair.gateway
