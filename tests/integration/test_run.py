"""`make run`: what it prints works when it is pasted, and what it cannot do it says in one line.

The Makefile adds only the virtual environment to scripts/run.py.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.docs.markdown import BASE_URL, blocks, read
from tests.integration.raw_http import (
    MARK,
    PATIENCE,
    ask,
    generation,
    head,
    is_refused,
    marked_processes,
    new_mark,
)
from tests.sdk.cases import pixels
from tests.support.fake_minimax import start_fake_minimax
from tests.support.processes import HOST, ROOT, UPSTREAM_KEY, environment, free_port
from tests.support.waiting import wait_until

COMMAND = [sys.executable, "scripts/run.py"]
NEEDS_CURL = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing: run scripts/install-test-tools")


@dataclass
class Run:
    """A `make run` that has printed its lines."""

    url: str
    mark: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def printed(self) -> str:
        return self.log.read_text()

    def lines_under(self, title: str) -> str:
        """The lines printed under a title, ready to paste."""
        found = re.search(rf"^{re.escape(title)}[^\n]*:\n(.+?)\n\n", self.printed, re.MULTILINE | re.DOTALL)
        assert found is not None, self.printed
        return found[1]

    @property
    def key(self) -> str:
        found = re.search(r"Bearer ([^\s'\"]+)", self.printed)
        assert found is not None
        return found[1]


def start(variables: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            COMMAND,
            cwd=ROOT,
            env=environment(**variables),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


@contextmanager
def running(folder: Path, **variables: str) -> Iterator[Run]:
    mark, port = new_mark(), free_port()
    log = folder / f"run-{port}.log"
    process = start({"PORT": str(port), MARK: mark, "AMUX_STATE_FOLDER": str(folder / "state")} | variables, log)
    run = Run(f"http://{HOST}:{port}", mark, process, log)
    try:
        wait_until(lambda: "Ctrl-C stops it" in run.printed or process.poll() is not None, "lines to paste")
        assert process.poll() is None, run.printed
        yield run
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(PATIENCE)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A run with no variable set except its port."""
    with running(tmp_path_factory.mktemp("run")) as started:
        yield started


def shell(lines: str) -> Any:
    """The JSON that the lines print when pasted into a shell in another folder."""
    # Proxy variables of the machine that runs the tests must not interfere.
    done = subprocess.run(
        ["sh", "-c", lines], capture_output=True, cwd="/", env=environment(NO_PROXY="*", no_proxy="*"), timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def download_image(response: Any) -> bytes:
    [image] = response["data"]
    downloaded = requests.get(image["url"], timeout=10)
    downloaded.raise_for_status()
    assert downloaded.headers["Content-Type"] == "image/jpeg"
    return downloaded.content


@NEEDS_CURL
def test_the_curl_line_for_text_gives_an_image_of_its_size(run: Run) -> None:
    assert pixels(download_image(shell(run.lines_under("Text to image")))) == (1280, 720)


@NEEDS_CURL
def test_the_curl_line_for_an_edit_gives_an_image(run: Run) -> None:
    image = download_image(shell(run.lines_under("Image to image")))
    assert pixels(image) == (1024, 1024)


@NEEDS_CURL
def test_the_key_is_exported_for_the_examples_of_the_documents(run: Run) -> None:
    [example] = [block for block in blocks("sh", read("README.md")) if '"A lighthouse at dusk"' in block]
    lines = run.lines_under("The API key") + "\n" + example.replace(BASE_URL, run.url)
    assert pixels(download_image(shell(lines))) == (1280, 720)


def test_the_python_lines_print_the_url_of_an_image(run: Run) -> None:
    assert python_picture(run) == (1024, 1024)


def python_picture(run: Run) -> tuple[int, int]:
    lines = textwrap.dedent(run.lines_under("Python"))
    assert len(lines.splitlines()) == 3
    done = subprocess.run(
        [sys.executable, "-c", lines],
        capture_output=True,
        cwd="/",
        env=environment(NO_PROXY="*", no_proxy="*"),
        timeout=PATIENCE,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return pixels(requests.get(done.stdout.strip(), timeout=10).content)


def test_without_a_key_the_sandbox_is_used_and_announced(run: Run) -> None:
    assert "The gateway is ready; images come from the built-in sandbox" in run.printed
    assert run.lines_under("Open the playground").strip() == f"{run.url}/#key={run.key}"
    assert "sandbox started" in run.printed


def test_calls_without_the_printed_key_are_rejected(run: Run) -> None:
    assert ask(run.url, head("GET", "/v1/models", key=run.key), "GET").status == 200
    assert ask(run.url, head("GET", "/v1/models", key=run.key[:-1]), "GET").status == 401


def test_generated_keys_are_new_each_run_and_ctrl_c_stops_everything(run: Run, tmp_path: Path) -> None:
    with running(tmp_path, AMUX_API_KEYS="", MINIMAX_API_KEY="") as other:
        assert other.key != run.key
        assert min(len(other.key), len(run.key)) > 40
        assert len(marked_processes(other.mark)) > 4  # the runner and two gunicorns with their workers
        other.process.send_signal(signal.SIGINT)
        assert other.process.wait(PATIENCE) == 0
        wait_until(lambda: marked_processes(other.mark) == [], "no process left")
        assert is_refused(other.url)
    assert not is_refused(run.url)


@NEEDS_CURL
def test_chosen_keys_are_printed_quoted_for_a_shell(tmp_path: Path) -> None:
    """A key may hold any printable ASCII except the comma."""
    key = """k-$HOME'"`\\!*;&|<>"""
    with running(tmp_path, AMUX_API_KEYS=f"{key},second-key") as run:
        assert ask(run.url, head("GET", "/v1/models", key="second-key"), "GET").status == 200
        assert run.lines_under("Open the playground").strip() == f"{run.url}/"
        for title in ("Text to image", "Image to image"):
            assert len(shell(run.lines_under(title))["data"]) == 1
        assert python_picture(run) == (1024, 1024)


def test_without_pages_no_playground_is_printed(tmp_path: Path) -> None:
    with running(tmp_path, AMUX_PAGES="false") as run:
        assert ask(run.url, head("GET", "/"), "GET").status == 404
        assert "playground" not in run.printed
        assert "#key=" not in run.printed
        assert run.lines_under("The API key").strip() == f"export AMUX_API_KEY={run.key}"


def test_with_a_minimax_key_no_sandbox_is_started(tmp_path: Path) -> None:
    with (
        start_fake_minimax() as upstream,
        running(tmp_path, MINIMAX_API_KEY=UPSTREAM_KEY, MINIMAX_BASE_URL=upstream.url) as run,
    ):
        assert "images come from MiniMax, which charges for them" in run.printed
        assert "sandbox" not in run.printed.replace(str(ROOT), "")
        assert UPSTREAM_KEY not in run.printed
        data = generation("a").replace(b"caller-key-for-tests", run.key.encode())
        assert ask(run.url, data).status == 200
    [received] = upstream.received
    assert received.headers["authorization"] == f"Bearer {UPSTREAM_KEY}"


def test_several_minimax_keys_start_no_sandbox_either(tmp_path: Path) -> None:
    with (
        start_fake_minimax() as upstream,
        running(tmp_path, MINIMAX_API_KEYS=f"{UPSTREAM_KEY},second-key", MINIMAX_BASE_URL=upstream.url) as run,
    ):
        assert "images come from MiniMax, which charges for them" in run.printed
        assert "sandbox" not in run.printed.replace(str(ROOT), "")
        assert rates(run) == ["10", "10"]


def rates(run: Run) -> list[str]:
    """The rates of the upstream keys, as the gateway logs them at its start."""
    [line] = re.findall(r'"Upstream keys: ([^"]*)"', run.printed)
    return [key.partition(" at ")[2] for key in line.split(", ")]


def code(run: Run, prompt: str = "a") -> str | None:
    """The error code of a call, None if an image was drawn."""
    response = ask(run.url, generation(prompt).replace(b"caller-key-for-tests", run.key.encode()))
    error = json.loads(response.body).get("error")
    return error["code"] if error else None


def test_without_a_key_the_gateway_does_not_pace(run: Run) -> None:
    assert rates(run) == ["any rate"]


@pytest.mark.parametrize("fault", ["1002", "1004", "1008"])
def test_a_fault_from_a_prompt_does_not_rest_the_sandboxes_only_key(run: Run, fault: str) -> None:
    assert [code(run, f"sandbox:{fault}"), code(run)] == [fault, None]


@pytest.mark.parametrize(
    "chosen",
    [
        {"MINIMAX_API_KEYS": "first-key,empty-key", "SANDBOX_EMPTY_KEYS": "empty-key"},
        {"SANDBOX_REQUESTS_PER_MINUTE": "10"},
        {"AMUX_REST_KEYS": "true"},
    ],
    ids=["keys", "rate", "told to"],
)
def test_keys_rest_where_a_rejection_is_rehearsed(tmp_path: Path, chosen: dict[str, str]) -> None:
    with running(tmp_path, **chosen) as run:
        rejected = code(run, "sandbox:1004")
        assert rejected in {"1004", "1008"}
        assert code(run) in {"1004", "1008"}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"MINIMAX_REQUESTS_PER_MINUTE": "7"}, "7"),
        ({"SANDBOX_REQUESTS_PER_MINUTE": "3"}, "10"),
        ({"SANDBOX_REQUESTS_PER_MINUTE": "3", "MINIMAX_REQUESTS_PER_MINUTE": "0"}, "any rate"),
        ({"MINIMAX_API_KEY": "one-key", "SANDBOX_REFUSED_KEYS": "one-key"}, "any rate"),
    ],
    ids=str,
)
def test_the_gateway_paces_if_it_is_told_to_or_the_sandbox_has_a_rate(
    tmp_path: Path, variables: dict[str, str], expected: str
) -> None:
    with running(tmp_path, **variables) as run:
        assert rates(run) == [expected]
        assert "images come from the built-in sandbox (" in run.printed


def test_with_a_sandbox_variable_the_given_keys_are_the_sandboxes(tmp_path: Path) -> None:
    """Two keys draw one image each; a third is empty and a fourth refused; then MiniMax's verdict is passed on."""
    chosen = {
        "MINIMAX_API_KEYS": "refused-key,empty-key,first-key,second-key:5",
        "SANDBOX_REQUESTS_PER_MINUTE": "1",
        "SANDBOX_EMPTY_KEYS": "empty-key",
        "SANDBOX_REFUSED_KEYS": "refused-key",
        "MINIMAX_REQUESTS_PER_MINUTE": "0",
        "AMUX_REST_KEYS": "false",
    }
    with running(tmp_path, **chosen) as run:
        assert "images come from the built-in sandbox (SANDBOX_EMPTY_KEYS is set)" in run.printed
        assert rates(run) == ["any rate", "any rate", "any rate", "5"]
        assert [code(run), code(run)] == [None, None]
        assert code(run) in {"1002", "1004", "1008"}
        assert not [key for key in ("refused-key", "empty-key", "first-key", "second-key") if key in run.printed]


def test_with_a_rate_and_two_keys_no_caller_sees_1002(tmp_path: Path) -> None:
    chosen = {
        "MINIMAX_API_KEYS": "first-key,second-key",
        "SANDBOX_REQUESTS_PER_MINUTE": "10",
        "AMUX_QUEUE_SECONDS": "0",
    }
    with running(tmp_path, **chosen) as run, ThreadPoolExecutor(30) as callers:
        codes = list(callers.map(lambda number: code(run, f"image {number}"), range(30)))
        assert sorted(codes, key=str) == [None] * 20 + ["upstream_busy"] * 10


def test_a_wrong_sandbox_variable_is_named_and_stops_everything(tmp_path: Path) -> None:
    for name, value in {"SANDBOX_REQUESTS_PER_MINUTE": "secretly", "SANDBOX_EMPTY_KEYS": "secretly"}.items():
        printed = refused({"PORT": str(free_port()), name: value}, tmp_path / "log")
        assert f"{name}: Expected " in printed
        assert "Traceback" not in printed
        assert "secretly" not in printed


def test_proxy_variables_are_ignored_for_loopback(tmp_path: Path) -> None:
    with start_fake_minimax() as proxy:
        with running(tmp_path, http_proxy=proxy.url, HTTP_PROXY=proxy.url, no_proxy="", NO_PROXY="") as run:
            assert ask(run.url, generation("a").replace(b"caller-key-for-tests", run.key.encode())).status == 200
        assert proxy.connections == 0


def refused(variables: dict[str, str], log: Path) -> str:
    """The output of a run that cannot start."""
    mark = new_mark()
    process = start(variables | {MARK: mark, "AMUX_STATE_FOLDER": str(log.parent / "state")}, log)
    assert process.wait(PATIENCE) == 1
    wait_until(lambda: marked_processes(mark) == [], "no process left")
    return log.read_text()


def test_a_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        printed = refused({"PORT": str(port)}, tmp_path / "log")
    assert printed.count("\n") == 1
    assert printed.startswith(f"Port {port} is in use")


@pytest.mark.parametrize("port", ["", "0", "65536", "99999999999999999999", "-1", "http", " 8000", "８０００"])
def test_an_invalid_port_is_one_clear_line(tmp_path: Path, port: str) -> None:
    assert refused({"PORT": port}, tmp_path / "log") == "PORT must be a number from 1 to 65535.\n"


@pytest.mark.parametrize("name", ["MINIMAX_TIMEOUT_SECONDS", "WEB_CONCURRENCY"])
def test_an_invalid_variable_is_named_and_stops_everything(tmp_path: Path, name: str) -> None:
    printed = refused({"PORT": str(free_port()), name: "soon"}, tmp_path / "log")
    assert name in printed
    assert "Traceback" not in printed
    assert "Ctrl-C stops it" not in printed


def test_too_old_a_python_is_one_clear_line(tmp_path: Path) -> None:
    """Nothing is installed."""
    done = subprocess.run(
        [ROOT / "scripts" / "create-venv", "/bin/false"], cwd=tmp_path, capture_output=True, timeout=PATIENCE, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Python 3.11 or newer is needed")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
