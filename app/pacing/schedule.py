"""Pure functions of pacing: which key may begin a call, and when the next ones may."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

POLL_SECONDS = 0.25  # how late a worker learns that another's ticket has left the queue
MIN_POLL_SECONDS = 0.005


@dataclass
class KeyLoad:
    """One key as the store sees it at `now`: its `starts` within the window, oldest first, and until when it rests.

    `failed` is True if it rests, or is being probed, for a reason that waiting does not mend.
    """

    fingerprint: str
    rate: int
    starts: list[float] = field(default_factory=list)
    rests_until: float = 0.0
    probes: bool = False
    failed: bool = False

    def has_room(self, now: float) -> bool:
        return self.rests_until <= now and (self.rate == 0 or len(self.starts) < self.rate)

    def free_times(self, now: float, window: float) -> Iterator[float]:
        """When the key may begin each of its next calls, without end."""
        begin = max(now, self.rests_until)
        recent = deque(self.starts, maxlen=self.rate)
        while True:
            if self.rate and len(recent) == self.rate:
                begin = max(begin, recent[0] + window)
            yield begin
            recent.append(begin)


def choose(keys: Iterable[KeyLoad], now: float, excluded: Collection[str] = ()) -> KeyLoad | None:
    """The key with room that has begun the smallest part of what it may."""
    free = [key for key in keys if key.fingerprint not in excluded and key.has_room(now)]
    return min(free, key=lambda key: len(key.starts) / key.rate if key.rate else 0, default=None)


def seconds_until_turn(keys: Sequence[KeyLoad], now: float, window: float, position: int) -> float | None:
    """How long the call in `position` (0 is the next one) waits. None where each key has failed, and still rests."""
    if all(key.failed and key.rests_until > now for key in keys):
        return None
    times = heapq.merge(*(key.free_times(now, window) for key in keys))
    return next(islice(times, position, None)) - now


def next_look(keys: Sequence[KeyLoad], now: float, window: float) -> float | None:
    """How many seconds a worker waits before it asks for turns again; None as in `seconds_until_turn`."""
    seconds = seconds_until_turn(keys, now, window, 0)
    return None if seconds is None else min(max(seconds, MIN_POLL_SECONDS), POLL_SECONDS)
