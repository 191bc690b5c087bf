"""Data types of pacing, and the `PacerStore` interface.

Terms: a *start* is one call that a key has begun; a *ticket* is one call that waits for its turn; a *rest* is the time
in which a key takes no calls, because of what the upstream has said of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

RestReason = Literal["rate", "account", "refused"]
FAILURES: tuple[RestReason, ...] = ("account", "refused")  # waiting does not mend them

# A start counts for this much longer than the upstream's window: requests do not all take equally long to arrive.
WINDOW_MARGIN = 0.02
WINDOW_SECONDS = 60.0
LEASE_SECONDS = 3.0  # a worker that has not asked for so long is dead: its tickets are dropped
MAX_TURNS = 256  # tickets looked at in one step
PROBE_SECONDS = 300.0  # until a probing call that never reported lets another one try


@dataclass(frozen=True)
class KeyRate:
    """`fingerprint` names an upstream key; `rate` is how many calls it may begin in a window, 0 for any number."""

    fingerprint: str
    rate: int


@dataclass(frozen=True)
class Ticket:
    """A call that needs a turn. `caller` is whose turn it is; `excluded` are fingerprints it has been refused by.

    An `urgent` ticket has had its turn before: it goes first, and waits even where no more calls may.
    """

    id: str
    caller: str
    worker: str
    excluded: frozenset[str] = frozenset()
    urgent: bool = False


@dataclass(frozen=True)
class Grant:
    """A turn. `probe` is True where the key has rested and this call finds out whether it works again."""

    ticket_id: str
    fingerprint: str
    start_id: str
    probe: bool = False


@dataclass(frozen=True)
class Wait:
    """No turn yet: the seconds until one is likely.

    None where each key that the ticket may have rests for a reason that waiting does not mend.
    """

    seconds: float | None


@dataclass(frozen=True)
class Rest:
    """Why a key takes no calls, and for how many more seconds. `code` is what the upstream said."""

    reason: RestReason
    code: str
    seconds: float


@dataclass(frozen=True)
class KeyState:
    """`started` is how many calls the key has begun in the current window; `rest` is None while it is healthy."""

    fingerprint: str
    rate: int
    started: int
    rest: Rest | None

    @property
    def has_failed(self) -> bool:
        """Whether the key rests for a reason that waiting does not mend."""
        return self.rest is not None and self.rest.reason in FAILURES


class WorkerForgotten(Exception):
    """The store knows no ticket of this worker: its lease is over, or the store is another one or was emptied."""


class QueueFull(Exception):
    """As many calls wait as may."""


class PacerStore(Protocol):
    """Each method is one atomic step for all processes that share the store. Times are in seconds.

    Methods raise `StoreUnavailable` where the store cannot be reached.
    """

    def request(self, ticket: Ticket, max_waiting: int) -> Grant | Wait:
        """A turn at once, if nobody waits and a key has room; else the ticket waits.

        Raises `QueueFull` where `max_waiting` tickets of this instance wait.

        A ticket that waits already keeps its place.
        """
        ...

    def take(self, worker: str) -> tuple[Sequence[Grant], float | None]:
        """The turns that tickets of `worker` have now, and the seconds until it is worth asking again.

        The seconds are None where each key rests for a reason that waiting does not mend.

        Raises `WorkerForgotten`: the tickets that still wait are to be requested again.
        """
        ...

    def leave(self, ticket_id: str) -> bool:
        """Give up waiting. False if the ticket does not wait any more."""
        ...

    def give_back(self, grant: Grant) -> None:
        """The call of this turn was not begun: the key has its room back, and another call may probe it."""
        ...

    def stop_probe(self, grant: Grant) -> None:
        """A probing call has shown nothing of the key: another call may probe it."""
        ...

    def rest(self, grant: Grant, reason: RestReason, code: str, seconds: float, longest: float) -> None:
        """Let the key of `grant` rest. For `account` the time doubles with each rest in a row, up to `longest` seconds;
        after it one call probes the key.
        """
        ...

    def recover(self, grant: Grant) -> None:
        """A probing call has succeeded: the key is healthy."""
        ...

    def key_states(self) -> Sequence[KeyState]:
        """The state of each key, in the order of the pool."""
        ...

    def waiting(self) -> int:
        """How many tickets wait."""
        ...

    def close(self) -> None: ...


class StoreUnavailable(Exception):
    """The store cannot be reached."""
