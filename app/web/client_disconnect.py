"""Finds out whether the caller has disconnected while its request waits."""

from __future__ import annotations

import select
from collections.abc import Callable

from flask import request
from gevent import monkey

_poll = monkey.get_original("select", "poll")  # gevent's gives way to other greenlets, even for a timeout of 0


def client_disconnect_check() -> Callable[[], bool]:
    """A function that is True once the caller has closed its connection. Without gunicorn's socket it is never True."""
    connection = request.environ.get("gunicorn.socket")
    if connection is None:
        return lambda: False
    poll = _poll()
    poll.register(connection.fileno(), select.POLLRDHUP)
    return lambda: bool(poll.poll(0))
