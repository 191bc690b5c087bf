"""A gateway for this room in front of MiniMax as a script: both are started once a test process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support import processes
from tests.support.processes import Served
from tests.support.scripted import ScriptedServer, answer, scripted_server, success


@dataclass(frozen=True)
class Pair:
    upstream: ScriptedServer
    gateway: Served


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("wire")
    with scripted_server() as upstream, processes.gateway(folder, upstream.url) as gateway:
        yield Pair(upstream, gateway)


@pytest.fixture
def upstream(pair: Pair) -> ScriptedServer:
    """MiniMax behind `gateway`, as new: it has received nothing and answers with one picture."""
    pair.upstream.received.clear()
    pair.upstream.script = answer(success())
    return pair.upstream


@pytest.fixture
def gateway(pair: Pair, upstream: ScriptedServer) -> Served:
    """A real gunicorn in front of `upstream`."""
    return pair.gateway
