"""The gateway with slow system calls, for `gunicorn tests.server.slow_calls:app`: they block their native thread.

The environment's `SLOW_HOST` is a host whose name resolution takes `SECONDS`; with `SLOW_FSYNC`, so does each fsync.
"""

from __future__ import annotations

import _socket
import os
from typing import Any

from gevent import monkey

SECONDS = 1.5

_sleep = monkey.get_original("time", "sleep")
_getaddrinfo, _fsync = _socket.getaddrinfo, os.fsync


def _slow_getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
    if host in (os.environ.get("SLOW_HOST"), os.environ.get("SLOW_HOST", "").encode()):
        _sleep(SECONDS)
    return _getaddrinfo(host, *arguments, **options)


def _slow_fsync(descriptor: Any) -> None:
    _sleep(SECONDS)
    _fsync(descriptor)


_socket.getaddrinfo = _slow_getaddrinfo
if os.environ.get("SLOW_FSYNC"):
    os.fsync = _slow_fsync  # type: ignore[assignment]

from wsgi import app  # noqa: E402, F401
