"""`Outages`: tells when workers that do not beat may be taken for dead."""

from __future__ import annotations

import time

# In seconds.
BEAT_AGAIN_SECONDS = 6.0  # after an outage, in which every worker that is alive beats
STALL_SECONDS = 4.0  # between two rounds of the supervisor: the disk, the machine or its clock was disturbed


class Outages:
    """After an outage of the store, or a stall of this machine, all workers seem dead until they have beaten again.

    Beats are compared by the wall clock, so stalls are measured by it. Safe for threads.
    """

    def __init__(self) -> None:
        # A start counts as an outage: the other workers of the instance have not shown that they are alive yet. It is
        # that of the master process: a worker that replaces a dead one does not wait.
        self._failed_at = time.monotonic()
        self._round_at: float | None = None

    def store_failed(self) -> None:
        self._failed_at = time.monotonic()

    def round_begins(self) -> None:
        """The supervisor begins a round. If the last one began long ago, other workers could not beat either."""
        if self._is_stalled():
            self._failed_at = time.monotonic()
        self._round_at = time.time()

    def are_over(self) -> bool:
        """Whether a worker that has not beaten is dead. False too while the supervisor does not get on."""
        return not self._is_stalled() and time.monotonic() > self._failed_at + BEAT_AGAIN_SECONDS

    def _is_stalled(self) -> bool:
        return self._round_at is not None and time.time() > self._round_at + STALL_SECONDS
