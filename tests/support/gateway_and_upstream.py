"""A real gateway in front of a fake MiniMax, for tests that start both once per process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import processes
from tests.support.fake_minimax import FakeMinimax, respond, start_fake_minimax, success
from tests.support.processes import Served


@dataclass(frozen=True)
class GatewayAndUpstream:
    upstream: FakeMinimax
    gateway: Served

    def reset_upstream(self) -> FakeMinimax:
        """Reset the upstream: no requests received, and a success with one image as its script."""
        self.upstream.received.clear()
        self.upstream.script = respond(success())
        return self.upstream


@contextmanager
def start_gateway_and_upstream(folder: Path, **variables: str) -> Iterator[GatewayAndUpstream]:
    with start_fake_minimax() as upstream, processes.gateway(folder, upstream.url, **variables) as gateway:
        yield GatewayAndUpstream(upstream, gateway)


@pytest.fixture
def upstream(gateway_and_upstream: GatewayAndUpstream) -> FakeMinimax:
    """The fake MiniMax behind `gateway`, reset: no requests received, and a success with one image as its script."""
    return gateway_and_upstream.reset_upstream()


@pytest.fixture
def gateway(gateway_and_upstream: GatewayAndUpstream, upstream: FakeMinimax) -> Served:
    """A real gunicorn in front of `upstream`."""
    return gateway_and_upstream.gateway
