"""Memory, open files and metrics of a running gateway."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.integration.raw_http import ask, children, head
from tests.support.processes import Served
from tests.support.waiting import wait_until

MB = 1024 * 1024
Sample = tuple[str, frozenset[tuple[str, str]]]


def processes_of(gateway: Served) -> list[int]:
    """The process ids of the master and its workers."""
    return [gateway.process.pid, *children(gateway.process.pid)]


def memory(pids: list[int]) -> int:
    """The memory of these processes in bytes; shared memory counts once."""
    return sum(_kilobytes(f"/proc/{pid}/smaps_rollup", "Pss") for pid in pids) * 1024


class Growth:
    """The sum of each process's peak growth in bytes since this was created."""

    def __init__(self, pids: list[int]) -> None:
        self._before = {}
        for pid in pids:
            Path(f"/proc/{pid}/clear_refs").write_text("5")  # resets the kernel's high-water mark
            self._before[pid] = _kilobytes(f"/proc/{pid}/status", "VmRSS")

    @property
    def peak(self) -> int:
        most = {pid: _kilobytes(f"/proc/{pid}/status", "VmHWM") for pid in self._before}
        return sum(max(0, most[pid] - before) for pid, before in self._before.items()) * 1024


def _kilobytes(file: str, name: str) -> int:
    [amount] = re.findall(rf"^{name}:\s+(\d+) kB$", Path(file).read_text(), re.MULTILINE)
    return int(amount)


def open_in(folder: Path, pids: list[int]) -> list[str]:
    """The files in `folder` that these processes have open; unlinked ones end in " (deleted)"."""
    links = []
    for pid in pids:
        for number in os.listdir(f"/proc/{pid}/fd"):
            try:
                links.append(os.readlink(f"/proc/{pid}/fd/{number}"))
            except FileNotFoundError:  # closed meanwhile
                continue
    return [link for link in links if link.startswith(f"{folder}/")]


class Metrics:
    """The samples of one request to `/metrics`."""

    def __init__(self, url: str) -> None:
        reply = ask(url, head("GET", "/metrics", key=None), "GET")
        assert reply.status == 200
        self.text = reply.body.decode()
        self.samples: dict[Sample, float] = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(self.text)
            for sample in family.samples
        }

    def __getitem__(self, name: str) -> float:
        """The sum over all labels."""
        return sum(value for (found, _), value in self.samples.items() if found == name)

    def by(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """The values other than 0, keyed by the values of these labels."""
        found: dict[tuple[str, ...], float] = {}
        for (sample, pairs), value in self.samples.items():
            if sample == name and value:
                key = tuple(dict(pairs)[label] for label in labels)
                found[key] = found.get(key, 0) + value
        return found

    def since(self, before: Metrics, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        then, now = before.by(name, *labels), self.by(name, *labels)
        return {key: value - then.get(key, 0) for key, value in now.items() if value != then.get(key, 0)}


def in_flight(gateway: Served) -> float:
    return Metrics(gateway.url)["amux_calls_in_flight"]


def wait_until_idle(gateway: Served) -> None:
    wait_until(lambda: in_flight(gateway) == 0, "every slot back")


@contextmanager
def stopped(*pids: int) -> Iterator[None]:
    """Suspend these processes, so that other processes accept all connections."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        for pid in pids:
            wait_until(lambda pid=pid: is_stopped(pid), f"{pid} stands still")  # type: ignore[misc]
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def is_stopped(pid: int) -> bool:
    """SIGSTOP takes effect later on a busy machine; until then a process may accept connections and signals."""
    return Path(f"/proc/{pid}/status").read_text().split("State:\t", 1)[1].startswith("T")
