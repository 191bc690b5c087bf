"""Event streams through the shipped nginx.conf: passed on as they come, and ended when the caller leaves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.services.events import HEARTBEAT
from app.web.event_stream import HEARTBEAT_SECONDS
from tests.integration.raw_http import Caller
from tests.server.test_event_stream import COMMAND, HELD, begun, closed, names, release
from tests.support import processes
from tests.support.nginx import SHIPPED, needs_nginx, nginx
from tests.support.processes import Served
from tests.support.waiting import wait_until

pytestmark = needs_nginx


@pytest.fixture
def streams(tmp_path: Path) -> Iterator[Served]:
    with (
        processes.gateway(tmp_path, "http://upstream.invalid", COMMAND, WEB_CONCURRENCY="1") as served,
        nginx(tmp_path, served.url) as front,
    ):
        yield replace(served, url=front.url)


def test_heartbeats_and_events_pass_through_as_they_come(streams: Served) -> None:
    with Caller(streams.url) as caller:
        response = begun(caller, f"{HELD}&heartbeat=3600")
        assert response.readline() == HEARTBEAT  # while the call is held
        assert response.getheader("cache-control") == "no-cache"
    with Caller(streams.url) as caller:
        response = begun(caller)
        assert [response.readline() for _ in range(3)] == [HEARTBEAT] * 3
        release(streams)
        assert names(response.read()) == [b"image_generation.completed"] * 2


def test_the_gateway_learns_that_the_caller_has_left(streams: Served) -> None:
    with Caller(streams.url) as caller:
        begun(caller).close()
        assert closed(streams) == 0
    wait_until(lambda: closed(streams) == 1, "the end of the stream, whose call still runs")


def test_heartbeats_come_more_often_than_nginx_times_out() -> None:
    [seconds] = [line.split()[1] for line in SHIPPED.read_text().splitlines() if "proxy_read_timeout " in line]
    assert float(seconds.removesuffix("s;")) > HEARTBEAT_SECONDS
