"""CPU time and memory of a gateway's process tree, read from /proc."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> list[int]:
    """The pids of the process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for parent in found:
        found.extend(children.get(parent, []))
    return found


def cpu_ms(pid: int) -> float:
    """User and system time so far in milliseconds, including children that have ended."""
    spent = 0
    for member in tree(pid):
        if fields := _stat(member):
            spent += sum(int(ticks) for ticks in fields[11:15])
    return spent * _TICK_MS


def memory_kb(pid: int) -> int:
    """Proportional set size in KB: a page that several processes share counts once."""
    return sum(_pss_kb(member) for member in tree(pid))


class Peak:
    """The largest memory in KB that `watched` has sampled."""

    def __init__(self) -> None:
        self.kb = 0


@contextmanager
def watched(pid: int, every_seconds: float) -> Iterator[Peak]:
    peak, over = Peak(), threading.Event()

    def watch() -> None:
        while not over.wait(every_seconds):
            peak.kb = max(peak.kb, memory_kb(pid))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the third (the state) on; the name before it may contain spaces."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def _pss_kb(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    except OSError:
        return 0
    return 0
