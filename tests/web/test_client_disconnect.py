"""The watch of a connection tells once, to whoever asks, that the client has closed it."""

from __future__ import annotations

import gevent
import pytest

from app.web.client_disconnect import ClientWatch


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_client_that_leaves_is_told_of_once(when: str) -> None:
    """`before`: while the request is read or looked up, which may wait for a database."""
    watch = ClientWatch(None)
    told: list[None] = []
    if when == "before":
        watch.set_gone()
    watch.when_gone(lambda: told.append(None))
    if when == "after":
        assert not watch.is_gone()
        watch.set_gone()
    gevent.sleep(0)
    assert watch.is_gone()
    assert told == [None]
