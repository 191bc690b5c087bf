"""A gateway in this process that may begin one call a minute, after which tasks wait for their turn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from app.tasks.background import background_calls
from app.tasks.supervisor import Supervisor
from tests.conftest import MakeClient
from tests.support.task_stores import park
from tests.support.waiting import wait_until


@pytest.fixture
def paced(make_client: MakeClient, tmp_path: Path) -> Iterator[FlaskClient]:
    client = make_client(state_folder=str(tmp_path), queue_seconds=600.0, minimax_requests_per_minute=1, max_calls=2)
    supervisor: Supervisor = client.application.extensions["task_supervisor"]
    supervisor.start()
    yield client
    wait_until(lambda: background_calls.count == 0)
    park(supervisor)
