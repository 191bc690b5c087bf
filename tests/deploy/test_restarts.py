"""Deploys, reloads and crashes under load: no avoidable loss, and no paid call is sent twice."""

from __future__ import annotations

import os
import signal
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from tests.deploy.instances import Instance, Load
from tests.integration.raw_http import Caller, children, generation, holding_upstream, image_url
from tests.support.fake_minimax import FakeMinimax, respond, start_fake_minimax, success
from tests.support.nginx import needs_nginx, nginx
from tests.support.processes import gateway
from tests.support.waiting import wait_until

DRAWING_SECONDS = 0.3


def asked(upstream: FakeMinimax) -> Counter[str]:
    return Counter(request.json["prompt"] for request in upstream.received)


@needs_nginx
def test_a_rolling_restart_loses_no_call_and_pays_none_twice(tmp_path: Path) -> None:
    with start_fake_minimax() as upstream, ExitStack() as stack:
        upstream.script = respond(success(), after=DRAWING_SECONDS)
        instances = [Instance(stack, tmp_path, upstream.url) for _ in range(2)]
        with nginx(tmp_path, *[instance.url for instance in instances]) as front, Load.on(front.url) as load:
            for instance in instances * 2:
                seen = len(load.outcomes)
                wait_until(lambda seen=seen: len(load.outcomes) > seen + 20, "load")  # type: ignore[misc]
                instance.restart()
    assert load.failed() == {}
    assert asked(upstream) == Counter(load.outcomes.keys())
    assert set(asked(upstream).values()) == {1}


def test_a_sighup_under_load_loses_no_call(tmp_path: Path) -> None:
    with start_fake_minimax() as upstream, gateway(tmp_path, upstream.url) as served:
        upstream.script = respond(success(), after=DRAWING_SECONDS)
        with Load.on(served.url) as load:
            for _ in range(2):
                wait_until(lambda: len(children(served.process.pid)) == 2, "two workers")
                old = set(children(served.process.pid))
                served.process.send_signal(signal.SIGHUP)
                wait_until(lambda old=old: not old & set(children(served.process.pid)), "new workers")  # type: ignore[misc]
    assert load.failed() == {}
    assert asked(upstream) == Counter(load.outcomes.keys())


def test_a_killed_worker_loses_only_its_own_calls(tmp_path: Path) -> None:
    with holding_upstream() as upstream, gateway(tmp_path, upstream.url) as served, ExitStack() as stack:
        wait_until(lambda: len(children(served.process.pid)) == 2, "two workers")
        workers = children(served.process.pid)
        callers: list[Caller] = []
        while {holder(caller, workers) for caller in callers} != set(workers):
            assert len(callers) < 200, "one worker takes all"
            for _ in range(4):
                callers.append(stack.enter_context(Caller(served.url)))
                callers[-1].send(generation(f"image {len(callers)}"))
            upstream.wait_for(len(callers))
        prompts = [f"image {number}" for number, _ in enumerate(callers, 1)]

        killed = workers[0]
        lost = [holder(caller, workers) == killed for caller in callers]
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: set(children(served.process.pid)) - set(workers) != set(), "a new worker")
        upstream.release.set()
        for caller, prompt, is_lost in zip(callers, prompts, lost, strict=True):
            if is_lost:
                assert hung_up_or_reset(caller)
            else:
                assert caller.reply().json["data"] == [{"url": image_url(prompt)}]
        assert sorted(upstream.arrived) == sorted(prompts)
        with Caller(served.url) as later:
            assert later.send(generation("later")).reply().status == 200
    assert 0 < sum(lost) < len(lost)


def holder(caller: Caller, workers: list[int]) -> int | None:
    """The worker that accepted this connection. Waits until one has."""
    client, server = caller.socket.getsockname()[1], caller.socket.getpeername()[1]
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    [inode] = [row[9] for row in rows if row[1].endswith(f":{server:04X}") and row[2].endswith(f":{client:04X}")]
    for worker in workers:
        open_files = Path(f"/proc/{worker}/fd").iterdir()
        if any(os.readlink(file) == f"socket:[{inode}]" for file in open_files if file.is_symlink()):
            return worker
    return None


def hung_up_or_reset(caller: Caller) -> bool:
    try:
        return caller.is_hung_up()
    except ConnectionResetError:
        return True
