"""Fixtures: a gateway in front of a fake MiniMax, both started once per test process."""

from __future__ import annotations

import pytest

from tests.support.fake_minimax import FakeMinimax
from tests.support.gateway_and_upstream import GatewayAndUpstream
from tests.support.processes import Served


@pytest.fixture
def upstream(gateway_and_upstream: GatewayAndUpstream) -> FakeMinimax:
    """The fake MiniMax behind `gateway`, reset: no requests received, and a success with one image as its script."""
    return gateway_and_upstream.reset_upstream()


@pytest.fixture
def gateway(gateway_and_upstream: GatewayAndUpstream, upstream: FakeMinimax) -> Served:
    """A real gunicorn in front of `upstream`."""
    return gateway_and_upstream.gateway
