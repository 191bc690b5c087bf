"""Process ids that survive pid reuse, so that maintenance can find reservations left behind by dead processes."""

from __future__ import annotations

import os
import socket
from functools import cache
from pathlib import Path


def process_id() -> str:
    """Id of this process, `host/boot/namespace/pid/start`. The host is for people to read.

    The kernel's boot id and the pid namespace distinguish machines and containers of the same name. The start time, in
    clock ticks since the boot, distinguishes a process from a later one with the same pid.
    """
    return _process_id(os.getpid())


def is_dead(process: str) -> bool:
    """Whether the process ran here and has ended. False for other machines and containers, where it is unknown."""
    _, *place, pid, start = process.split("/")
    return bool(start) and place == _namespace() and _start_ticks(int(pid)) != start and not _is_hidden(int(pid))


@cache
def _process_id(pid: int) -> str:
    return "/".join([socket.gethostname(), *_namespace(), str(pid), _start_ticks(pid)])


def _namespace() -> list[str]:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return [boot, os.readlink("/proc/self/ns/pid").strip("pid:[]")]
    except OSError:
        return ["", ""]


def _is_hidden(pid: int) -> bool:
    """Whether /proc hides the process because it is another user's (`hidepid`)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return not _start_ticks(pid)
    return False


def _start_ticks(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""
