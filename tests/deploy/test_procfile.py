"""The Procfile as platforms run it: by honcho, with PORT set."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

from tests.integration.raw_http import (
    MARK,
    PATIENCE,
    Caller,
    generation,
    holding_upstream,
    image_url,
    is_refused,
    marked_processes,
    new_mark,
)
from tests.support.processes import HOST, free_port, gateway_variables, serve
from tests.support.waiting import wait_until


def test_honcho_starts_it_and_a_stop_loses_no_response(tmp_path: Path) -> None:
    mark, port = new_mark(), free_port()
    url = f"http://{HOST}:{port}"
    with holding_upstream() as upstream, ExitStack() as stack:
        variables = gateway_variables(port, upstream.url) | {MARK: mark}
        command = f"{sys.executable} -m honcho start web"
        runner = stack.enter_context(serve(command, url, "/readyz", tmp_path / "log", variables))
        callers = [stack.enter_context(Caller(url)) for _ in range(3)]
        for number, caller in enumerate(callers):
            caller.send(generation(f"paid {number}"))
        upstream.wait_for(len(callers))

        runner.process.terminate()
        wait_until(lambda: is_refused(url), "a refused connection while calls are in flight")
        upstream.release.set()
        for number, caller in enumerate(callers):
            assert caller.reply().json["data"] == [{"url": image_url(f"paid {number}")}]
        runner.process.wait(PATIENCE)
        wait_until(lambda: marked_processes(mark) == [], "no process left")
        assert "Traceback" not in runner.log.read_text()
