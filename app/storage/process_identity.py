"""Owns the names of processes, by which what a dead one left open is told from what a living one still works on."""

from __future__ import annotations

import os
import socket
from functools import cache
from pathlib import Path


def process_id() -> str:
    """`host/kernel/namespace/pid/start`, of which the host is for people to read.

    The kernel's boot and the pid's namespace tell machines and containers apart that have a name in common, and the
    start, in clock ticks since the boot, a process from a later one of the same pid.
    """
    return _name(os.getpid())


def is_dead(owner: str) -> bool:
    """Whether that process ran here and has ended. Of other machines' and containers' nothing is known."""
    _, *place, pid, start = owner.split("/")
    return bool(start) and place == _place() and _start(int(pid)) != start and not _is_hidden(int(pid))


@cache
def _name(pid: int) -> str:
    return "/".join([socket.gethostname(), *_place(), str(pid), _start(pid)])


def _place() -> list[str]:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return [boot, os.readlink("/proc/self/ns/pid").strip("pid:[]")]
    except OSError:
        return ["", ""]


def _is_hidden(pid: int) -> bool:
    """Whether /proc does not show it because it is another user's (`hidepid`)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return not _start(pid)
    return False


def _start(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""
