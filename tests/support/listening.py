"""Which process listens on a port, by /proc."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def listens(pid: int, port: int) -> bool:
    """Whether the process, or one that it has started, listens on this port of 127.0.0.1 or of all addresses."""
    sockets = {f"socket:[{inode}]" for inode in _listeners(port)}
    return any(link in sockets for each in _family(pid) for link in _open_files(each))


def _listeners(port: int) -> Iterator[str]:
    """The inodes of the sockets that listen."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        address, state, inode = fields[1], fields[3], fields[9]
        if state == "0A" and int(address.rpartition(":")[2], 16) == port:
            yield inode


def _family(pid: int) -> Iterator[int]:
    yield pid
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:  # it has ended
        return
    for child in children:
        yield from _family(int(child))


def _open_files(pid: int) -> Iterator[str]:
    folder = f"/proc/{pid}/fd"
    try:
        for name in os.listdir(folder):
            yield os.readlink(f"{folder}/{name}")
    except OSError:  # the process has ended, or has closed the file
        return
