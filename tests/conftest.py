"""Fixtures shared by all tests, and the rule that CI fails if a test is skipped."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from hypothesis import settings as hypothesis_settings
from werkzeug.serving import make_server

from app import create_app
from app.pacing.store import WINDOW_SECONDS
from app.sandbox.accounts import Accounts
from app.sandbox.app import create_sandbox
from app.settings import Settings
from tests.support import processes
from tests.support.client import client_of
from tests.support.databases import database, empty_db, migrated_sqlite, postgres, test_db  # noqa: F401
from tests.support.fake_minimax import FakeMinimax, start_fake_minimax
from tests.support.gateway_and_upstream import GatewayAndUpstream, start_gateway_and_upstream
from tests.support.kept_images import file_gateway, s3_gateway  # noqa: F401
from tests.support.processes import API_KEY, UPSTREAM_KEY, Served
from tests.support.s3_server import shared_s3  # noqa: F401
from tests.support.settings import state_folders, unpaced  # noqa: F401

hypothesis_settings.register_profile("gateway", deadline=None, print_blob=True)
hypothesis_settings.load_profile("gateway")

MakeClient = Callable[..., FlaskClient]
AUTH = {"Authorization": f"Bearer {API_KEY}"}


@pytest.fixture
def upstream() -> Iterator[FakeMinimax]:
    """A fake MiniMax on a real socket."""
    with start_fake_minimax() as server:
        yield server


@pytest.fixture
def make_client(upstream: FakeMinimax) -> MakeClient:
    """Create a test client of the whole app, with the given settings, in front of `upstream`."""

    def make(*, window_seconds: float = WINDOW_SECONDS, **chosen: object) -> FlaskClient:
        base = {
            "api_keys": (API_KEY,),
            "minimax_api_key": UPSTREAM_KEY,
            "minimax_base_url": upstream.url,
            "minimax_timeout_seconds": 5.0,
        }
        settings = Settings(**(base | unpaced() | chosen))  # type: ignore[arg-type]
        client = client_of(create_app(settings, window_seconds=window_seconds))
        client.environ_base["HTTP_AUTHORIZATION"] = AUTH["Authorization"]
        return client

    return make


@pytest.fixture
def client(make_client: MakeClient) -> FlaskClient:
    return make_client()


@pytest.fixture(scope="session")
def sandbox_url() -> Iterator[str]:
    """The sandbox in a thread of this process, on a real socket."""
    server = make_server("127.0.0.1", 0, create_sandbox(Accounts.of(UPSTREAM_KEY)), threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="session")
def gateway_and_upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayAndUpstream]:
    """A real gunicorn in front of a fake MiniMax."""
    with start_gateway_and_upstream(tmp_path_factory.mktemp("gateway_and_upstream")) as gateway_and_upstream:
        yield gateway_and_upstream


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A real gunicorn with the gateway, in front of a real gunicorn with the sandbox."""
    folder: Path = tmp_path_factory.mktemp("served")
    with processes.sandbox(folder) as sandbox, processes.gateway(folder, sandbox.url) as gateway:
        yield gateway


def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if os.environ.get("CI") and skipped:
        print(f"\n{len(skipped)} tests were skipped, which CI does not allow.")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
