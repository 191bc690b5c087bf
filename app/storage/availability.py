"""Whether a database responds: a log line and a metric when that changes, and quick failures while it hangs."""

from __future__ import annotations

import logging
import time

from app import metrics
from app.errors import DatabaseUnavailable

# A transaction that waits longer than this for a database that then fails makes the following ones fail at once, for
# as long, instead of waiting too.
HUNG_SECONDS = 1

log = logging.getLogger(__name__)


class Availability:
    """Of one database, as this process sees it."""

    def __init__(self, name: str, consequence: str) -> None:
        """What the log calls the database, and what the gateway does while it is unavailable."""
        self._name = name
        self._consequence = consequence
        self._fail_fast_until = 0.0
        self._is_unavailable = False

    def check(self) -> float:
        """The time at which a transaction begins. Raises `DatabaseUnavailable` if another one has just hung."""
        started = time.monotonic()
        if started < self._fail_fast_until:
            raise DatabaseUnavailable
        return started

    def failed(self, started: float, why: str) -> None:
        """A transaction that began at `started` had no answer."""
        self._set(True, why)
        if time.monotonic() - started > HUNG_SECONDS:
            self._fail_fast_until = time.monotonic() + HUNG_SECONDS

    def works(self) -> None:
        if self._is_unavailable:
            self._set(False)

    def _set(self, unavailable: bool, why: str = "") -> None:
        """Logs a change once in each process, not for each call.

        Without a lock: native threads call this, and one that waits for a lock may miss its release by another one. The
        worst is a line that is logged twice.
        """
        if self._is_unavailable == unavailable:
            return
        self._is_unavailable = unavailable
        metrics.DATABASE_UNAVAILABLE.set(unavailable)
        if unavailable:
            log.warning("%s unavailable: %s. %s", self._name, self._consequence, why)
        else:
            log.warning("%s available again", self._name)
