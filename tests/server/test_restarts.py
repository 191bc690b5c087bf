"""Calls in flight while workers are reloaded, stopped or killed, without a proxy in front."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from pathlib import Path

from tests.deploy.instances import Load
from tests.integration.process_metrics import stopped
from tests.integration.raw_http import (
    FAST,
    PATIENCE,
    Caller,
    ask,
    children,
    generation,
    head,
    holding_upstream,
    image_url,
    is_refused,
)
from tests.support import processes
from tests.support.processes import Served
from tests.support.waiting import wait_until


def reload(gateway: Served) -> set[int]:
    """Send SIGHUP and wait for the new workers to boot."""
    wait_until(lambda: len(children(gateway.process.pid)) == 2, "both workers")
    old = set(children(gateway.process.pid))
    wait_until(lambda: gateway.log.read_text().count("Booting worker") % 2 == 0, "two workers that have said so")
    booted = gateway.log.read_text().count("Booting worker")
    gateway.process.send_signal(signal.SIGHUP)
    wait_until(lambda: gateway.log.read_text().count("Booting worker") == booted + 2, "new workers")
    return old


def test_a_reload_under_load_fails_and_repeats_no_call(tmp_path: Path) -> None:
    with holding_upstream() as upstream, processes.gateway(tmp_path, upstream.url) as gateway:
        upstream.release.set()
        with Load.on(gateway.url) as load:
            for _ in range(3):
                begun = len(load.outcomes)
                wait_until(lambda begun=begun: len(load.outcomes) > begun + 50, "calls")  # type: ignore[misc]
                old = reload(gateway)
                wait_until(lambda old=old: not old & set(children(gateway.process.pid)), "the old workers' end")  # type: ignore[misc]
        assert load.failed() == {}
        assert sorted(upstream.arrived) == sorted(load.outcomes)
        assert len(load.outcomes) > 150
        assert gateway.stop() == 0


def test_a_reload_finishes_calls_in_flight_and_accepts_new_ones(tmp_path: Path) -> None:
    with (
        holding_upstream() as upstream,
        processes.gateway(tmp_path, upstream.url) as gateway,
        ExitStack() as stack,
    ):
        callers = [stack.enter_context(Caller(gateway.url)) for _ in range(10)]
        for number, caller in enumerate(callers):
            caller.send(generation(f"paid {number}"))
        upstream.wait_for(len(callers))
        old = reload(gateway)
        for _ in range(20):
            assert ask(gateway.url, generation(FAST)).status == 200
        assert old & set(children(gateway.process.pid))
        upstream.release.set()
        for number, caller in enumerate(callers):
            assert caller.reply().json["data"] == [{"url": image_url(f"paid {number}")}]
        wait_until(lambda: not old & set(children(gateway.process.pid)), "the old workers' end")
        assert len(upstream.calls) == len(callers) + 20


def test_a_killed_worker_loses_only_its_own_calls_and_is_replaced(tmp_path: Path) -> None:
    with (
        holding_upstream() as upstream,
        processes.gateway(tmp_path, upstream.url) as gateway,
        ExitStack() as stack,
    ):
        wait_until(lambda: len(children(gateway.process.pid)) == 2, "both workers")
        victim, other = children(gateway.process.pid)
        held: dict[int, list[Caller]] = {}
        for worker, idle in ((victim, other), (other, victim)):
            with stopped(idle):
                held[worker] = [stack.enter_context(Caller(gateway.url)) for _ in range(5)]
                for caller in held[worker]:
                    caller.send(generation("held"))
                upstream.wait_for(5 * len(held))
        os.kill(victim, signal.SIGKILL)
        assert all(caller.is_hung_up() for caller in held[victim])
        wait_until(lambda: len(children(gateway.process.pid)) == 2, "another worker")
        for _ in range(20):
            assert ask(gateway.url, generation(FAST)).status == 200
        upstream.release.set()
        assert [caller.reply().status for caller in held[other]] == [200] * 5
        assert len(upstream.calls) == 10 + 20  # nothing was repeated


def test_readiness_fails_on_kept_connections_during_shutdown(tmp_path: Path) -> None:
    """nginx and load balancers check over kept connections; liveness still succeeds."""
    with (
        holding_upstream() as upstream,
        processes.gateway(tmp_path, upstream.url, WEB_CONCURRENCY="1") as gateway,
        Caller(gateway.url) as held,
        Caller(gateway.url) as ready,
        Caller(gateway.url) as alive,
    ):
        held.send(generation("paid"))
        upstream.wait_for(1)
        for kept in (ready, alive):
            assert kept.send(head("GET", "/readyz", key=None)).reply("GET").status == 200
        gateway.process.terminate()
        wait_until(lambda: is_refused(gateway.url), "a refused connection")
        # Shutdown keeps such connections for two more seconds.
        reply = ready.send(head("GET", "/readyz", key=None)).reply("GET")
        assert (reply.status, reply.json) == (503, {"status": "draining"})
        assert reply.headers["connection"] == "close"
        assert alive.send(head("GET", "/healthz", key=None)).reply("GET").status == 200
        upstream.release.set()
        assert held.reply().status == 200
        assert gateway.process.wait(PATIENCE) == 0
