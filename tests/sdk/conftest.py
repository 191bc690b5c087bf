"""Fixtures for the SDK tests: a gateway in front of a fake MiniMax, both started once per test process.

Each test runs twice: the client calls gunicorn, and the client calls nginx in front of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.fake_minimax import FakeMinimax
from tests.support.gateway_and_upstream import GatewayAndUpstream, upstream  # noqa: F401
from tests.support.images import JPEG
from tests.support.nginx import needs_nginx, nginx
from tests.support.processes import Served


@pytest.fixture(scope="session")
def nginx_of_gateway(
    gateway_and_upstream: GatewayAndUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    with nginx(tmp_path_factory.mktemp("front"), gateway_and_upstream.gateway.url) as front:
        yield front.url


@pytest.fixture(scope="session")
def nginx_of_served(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with nginx(tmp_path_factory.mktemp("front"), served.url) as front:
        yield front.url


@pytest.fixture(params=["gunicorn", pytest.param("nginx", marks=needs_nginx)])
def through(request: pytest.FixtureRequest) -> str:
    """The server that the client calls."""
    return str(request.param)


@pytest.fixture
def gateway(
    gateway_and_upstream: GatewayAndUpstream,
    upstream: FakeMinimax,  # noqa: F811
    through: str,
    request: pytest.FixtureRequest,
) -> Served:
    """A real gunicorn in front of `upstream`, at the address that the client calls."""
    return at(gateway_and_upstream.gateway, through, "nginx_of_gateway", request)


@pytest.fixture
def served(served: Served, through: str, request: pytest.FixtureRequest) -> Served:
    """A real gunicorn in front of the sandbox, at the address that the client calls."""
    return at(served, through, "nginx_of_served", request)


def at(gunicorn: Served, through: str, its_nginx: str, request: pytest.FixtureRequest) -> Served:
    return gunicorn if through == "gunicorn" else replace(gunicorn, url=request.getfixturevalue(its_nginx))


@pytest.fixture
def face(tmp_path: Path) -> Path:
    """The path of a file that holds `JPEG`."""
    path = tmp_path / "face.jpg"
    path.write_bytes(JPEG)
    return path
