"""A real gateway in front of MiniMax as a script: for rooms that start both once a test process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support import processes
from tests.support.fake_minimax import ScriptedServer, answer, scripted_server, success
from tests.support.processes import Served


@dataclass(frozen=True)
class Pair:
    upstream: ScriptedServer
    gateway: Served

    def renewed(self) -> ScriptedServer:
        """The upstream as new: it has received nothing and answers with one picture."""
        self.upstream.received.clear()
        self.upstream.script = answer(success())
        return self.upstream


@contextmanager
def started_pair(folder: Path) -> Iterator[Pair]:
    with scripted_server() as upstream, processes.gateway(folder, upstream.url) as gateway:
        yield Pair(upstream, gateway)
