"""Instances that restart on the same port, and callers that call without a pause meanwhile."""

from __future__ import annotations

import itertools
import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import requests

from tests.integration.raw_http import GENERATIONS, MODEL, PATIENCE
from tests.support.processes import (
    API_KEY,
    HOST,
    Served,
    free_port,
    gateway_variables,
    own_folders,
    procfile_command,
    serve,
)


class Instance:
    """The Procfile's gateway on a fixed port."""

    def __init__(self, stack: ExitStack, folder: Path, upstream_url: str, **variables: str) -> None:
        port = free_port()
        self.url = f"http://{HOST}:{port}"
        self._stack = stack
        self._logs = (folder / f"instance-{port}-{start}.log" for start in itertools.count())
        kept = folder / f"instance-{port}"
        stack.callback(shutil.rmtree, kept, ignore_errors=True)
        self._variables = gateway_variables(port, upstream_url) | own_folders(kept) | variables
        self.served = self._start()

    def _start(self) -> Served:
        """Start the instance and wait until it is ready."""
        process = serve(procfile_command("web"), self.url, "/readyz", next(self._logs), self._variables)
        return self._stack.enter_context(process)

    def restart(self) -> None:
        """Send SIGTERM, wait for the exit and start again, as `systemctl restart` does."""
        assert self.served.stop(PATIENCE) == 0
        self.served = self._start()


class Load:
    """Calls of `callers` concurrent callers, and their outcomes."""

    def __init__(self, url: str) -> None:
        self._url = url + GENERATIONS
        self._stopped = threading.Event()
        self._numbers = itertools.count()
        self.outcomes: dict[str, object] = {}  # by prompt: the status, or the exception

    def _call_for_ever(self) -> None:
        with requests.Session() as session:
            session.trust_env = False
            session.headers["Authorization"] = f"Bearer {API_KEY}"
            while not self._stopped.is_set():
                prompt = f"image {next(self._numbers)}"
                body = {"model": MODEL, "prompt": prompt}
                try:
                    response = session.post(self._url, json=body, timeout=PATIENCE)
                    self.outcomes[prompt] = (
                        response.status_code if response.ok else (response.status_code, response.text)
                    )
                except requests.RequestException as error:
                    self.outcomes[prompt] = error

    @classmethod
    @contextmanager
    def on(cls, url: str, callers: int = 8) -> Iterator[Load]:
        """Keep up the load inside the context. On exit every call has its outcome."""
        load = cls(url)
        threads = [threading.Thread(target=load._call_for_ever) for _ in range(callers)]
        for thread in threads:
            thread.start()
        try:
            yield load
        finally:
            load._stopped.set()
            for thread in threads:
                thread.join()

    def failed(self) -> dict[str, object]:
        return {prompt: outcome for prompt, outcome in self.outcomes.items() if outcome != 200}
