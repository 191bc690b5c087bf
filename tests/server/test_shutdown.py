"""Shutdown finishes calls in flight, which have been paid for, and leaves no process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.process_metrics import stopped
from tests.integration.raw_http import (
    MARK,
    PATIENCE,
    Caller,
    children,
    generation,
    head,
    holding_upstream,
    image_url,
    is_refused,
    marked_processes,
    new_mark,
)
from tests.support import processes
from tests.support.processes import (
    API_KEY,
    HOST,
    ROOT,
    UPSTREAM_KEY,
    environment,
    free_port,
    gateway_variables,
    own_folders,
    serve,
)
from tests.support.waiting import wait_until


def test_shutdown_loses_no_response_and_rejects_new_callers_at_once(tmp_path: Path) -> None:
    mark = new_mark()
    with (
        holding_upstream() as upstream,
        processes.gateway(tmp_path, upstream.url, **{MARK: mark}) as gateway,
        ExitStack() as stack,
    ):
        wait_until(lambda: len(marked_processes(mark)) == 3, "a master and two workers")
        callers = [stack.enter_context(Caller(gateway.url)) for _ in range(20)]
        for number, caller in enumerate(callers):
            caller.send(generation(f"paid {number}"))
        upstream.wait_for(len(callers))
        gateway.process.terminate()
        wait_until(lambda: is_refused(gateway.url), "a refused connection while calls are in flight")
        assert gateway.process.poll() is None

        upstream.release.set()
        for number, caller in enumerate(callers):
            reply = caller.reply()
            assert (reply.status, reply.json["data"]) == (200, [{"url": image_url(f"paid {number}")}])
        assert gateway.process.wait(PATIENCE) == 0
        assert marked_processes(mark) == []


def test_callers_connected_before_shutdown_get_responses(tmp_path: Path) -> None:
    """A worker that was too busy to accept sees new connections and the stop signal at the same time."""
    with (
        holding_upstream() as upstream,
        processes.gateway(tmp_path, upstream.url, WEB_CONCURRENCY="1") as gateway,
        ExitStack() as stack,
    ):
        upstream.release.set()
        [worker] = children(gateway.process.pid)
        with stopped(worker):
            callers = [stack.enter_context(Caller(gateway.url)) for _ in range(8)]
            for number, caller in enumerate(callers):
                caller.send(generation(f"at the door {number}"))
            gateway.process.terminate()
            wait_until(
                lambda: f"{1 << (signal.SIGTERM - 1):x}" in pending_signals(worker),
                "a SIGTERM that waits for the worker",
            )
        assert [caller.reply().status for caller in callers] == [200] * len(callers)
        assert gateway.process.wait(PATIENCE) == 0


def pending_signals(pid: int) -> str:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(line for line in status.splitlines() if line.startswith("ShdPnd:")).split()[1].lstrip("0")


def test_an_idle_connection_does_not_delay_shutdown(tmp_path: Path) -> None:
    """Browsers and load balancers open connections in advance."""
    port = free_port()
    variables = {"PORT": str(port), "HOST": HOST, "AMUX_API_KEYS": API_KEY, "MINIMAX_API_KEY": UPSTREAM_KEY}
    command = "gunicorn --worker-class tests.server.workers.ShortTimeoutWorker wsgi:app"
    with (
        serve(command, f"http://{HOST}:{port}", "/readyz", tmp_path / "log", variables) as gateway,
        Caller(gateway.url) as silent,
        Caller(gateway.url) as kept,
    ):
        assert kept.send(head("GET", "/healthz")).reply("GET").status == 200
        time.sleep(1)  # until the idle connection is parked, which nothing reports
        assert gateway.stop(30) == 0  # gunicorn alone: after `keepalive`, 75 seconds
        assert silent.is_hung_up()
        assert kept.is_hung_up()


@pytest.mark.parametrize("order", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT], ids=lambda order: order.name)
def test_a_booting_worker_does_not_delay_shutdown(tmp_path: Path, order: signal.Signals) -> None:
    mark, port = new_mark(), free_port()
    variables = {MARK: mark, "PORT": str(port), "HOST": HOST, "AMUX_API_KEYS": API_KEY, "MINIMAX_API_KEY": UPSTREAM_KEY}
    command = "gunicorn --worker-class tests.server.workers.SlowSecondWorker wsgi:app"
    with serve(command, f"http://{HOST}:{port}", "/readyz", tmp_path / "log", variables) as gateway:
        wait_until(lambda: len(marked_processes(mark)) == 3, "a second worker")
        gateway.process.send_signal(order)
        assert gateway.process.wait(30) == 0  # gunicorn alone: after `graceful_timeout`, 210 seconds
        assert marked_processes(mark) == []


@pytest.mark.parametrize("order", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda order: order.name)
def test_the_runner_shuts_down_gracefully(tmp_path: Path, order: signal.Signals) -> None:
    """Ctrl-C (sent to the whole foreground group, as a terminal does), SIGTERM, and a closed terminal."""
    mark, port = new_mark(), free_port()
    url = f"http://{HOST}:{port}"
    with holding_upstream() as upstream, ExitStack() as stack:
        variables = gateway_variables(port, upstream.url) | own_folders(tmp_path) | {MARK: mark}
        log = tmp_path / "log"
        with log.open("wb") as output:
            runner = subprocess.Popen(
                [sys.executable, "scripts/run.py"],
                cwd=ROOT,
                env=environment(**variables),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        stack.callback(end, runner)
        wait_until(lambda: "Ctrl-C stops it" in log.read_text(), "lines to paste")
        callers = [stack.enter_context(Caller(url)) for _ in range(3)]
        for number, caller in enumerate(callers):
            caller.send(generation(f"paid {number}"))
        upstream.wait_for(len(callers))
        os.killpg(runner.pid, order)
        wait_until(lambda: is_refused(url), "a refused connection while calls are in flight")
        upstream.release.set()
        for number, caller in enumerate(callers):
            assert caller.reply().json["data"] == [{"url": image_url(f"paid {number}")}]
        assert runner.wait(PATIENCE) == 0
        wait_until(lambda: marked_processes(mark) == [], "no process left")


def test_stopping_during_startup_leaves_no_process(tmp_path: Path) -> None:
    mark, port = new_mark(), free_port()
    runner = subprocess.Popen(
        [sys.executable, "scripts/run.py"],
        cwd=ROOT,
        env=environment(**{MARK: mark, "PORT": str(port)}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    with runner:
        try:
            assert runner.stdout is not None
            assert b" started (pid=" in runner.stdout.readline()
            os.killpg(runner.pid, signal.SIGINT)
            printed, _ = runner.communicate(timeout=PATIENCE)
        finally:
            end(runner)
    assert runner.returncode == 0
    assert b"Traceback" not in printed
    wait_until(lambda: marked_processes(mark) == [], "no process left")


def end(runner: subprocess.Popen[bytes]) -> None:
    """Kill what a failed test left running."""
    if runner.poll() is None:
        runner.terminate()
        runner.wait(PATIENCE)
