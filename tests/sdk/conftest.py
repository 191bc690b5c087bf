"""A gateway of the SDKs' own in front of MiniMax as a script: both are started once a test process.

Every test of this room runs twice: the client calls gunicorn, and the client calls nginx in front of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.fake_minimax import ScriptedServer
from tests.support.gateway_and_upstream import Pair
from tests.support.nginx import needs_nginx, nginx
from tests.support.pictures import JPEG
from tests.support.processes import Served


@pytest.fixture(scope="session")
def nginx_of_pair(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with nginx(tmp_path_factory.mktemp("front"), pair.gateway.url) as front:
        yield front.url


@pytest.fixture(scope="session")
def nginx_of_served(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with nginx(tmp_path_factory.mktemp("front"), served.url) as front:
        yield front.url


@pytest.fixture(params=["gunicorn", pytest.param("nginx", marks=needs_nginx)])
def through(request: pytest.FixtureRequest) -> str:
    """Whom the client calls."""
    return str(request.param)


@pytest.fixture
def upstream(pair: Pair) -> ScriptedServer:
    """MiniMax behind `gateway`, as new: it has received nothing and answers with one picture."""
    return pair.renewed()


@pytest.fixture
def gateway(pair: Pair, upstream: ScriptedServer, through: str, request: pytest.FixtureRequest) -> Served:
    """A real gunicorn in front of `upstream`, at the address that the client calls."""
    return at(pair.gateway, through, "nginx_of_pair", request)


@pytest.fixture
def served(served: Served, through: str, request: pytest.FixtureRequest) -> Served:
    """A real gunicorn in front of a MiniMax that really draws, at the address that the client calls."""
    return at(served, through, "nginx_of_served", request)


def at(gunicorn: Served, through: str, its_nginx: str, request: pytest.FixtureRequest) -> Served:
    return gunicorn if through == "gunicorn" else replace(gunicorn, url=request.getfixturevalue(its_nginx))


@pytest.fixture
def face(tmp_path: Path) -> Path:
    """A file with `JPEG` in it."""
    path = tmp_path / "face.jpg"
    path.write_bytes(JPEG)
    return path
