"""docs/deploy.md: its table of how many keys a load needs is what the pool's own schedule gives."""

from __future__ import annotations

import random
from itertools import accumulate

import pytest

from app.pacing.schedule import KeyLoad
from app.pacing.store import WINDOW_MARGIN, WINDOW_SECONDS
from app.settings import Settings
from tests.docs.markdown import read, rows

TABLE = rows(read("docs/deploy.md"), "calls per minute | keys")
WINDOW = WINDOW_SECONDS * (1 + WINDOW_MARGIN)
CALLS = 20_000


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row[0]} calls, {row[1]} keys")
def test_the_table_of_keys_is_what_the_schedule_gives(row: list[str]) -> None:
    """Random arrivals of one caller; percentages and seconds as the table rounds them."""
    settings = Settings((), "")
    waits = simulate(int(row[0]), int(row[1]), settings.minimax_requests_per_minute)
    begun = sorted(wait for wait in waits if wait <= settings.queue_seconds)
    at_once = sum(wait == 0 for wait in begun) / len(waits)
    rejected = 1 - len(begun) / len(waits)
    shown = [
        f"{at_once:.0%}".replace("%", " %"),
        *(f"{begun[int(len(begun) * share)]:.0f} s" for share in (0.5, 0.95)),
        f"{rejected:.0%}".replace("%", " %"),
    ]
    assert row[2:] == shown, f"edit docs/deploy.md, table 'calls per minute': | {' | '.join([*row[:2], *shown])} |"


def simulate(calls_per_minute: int, keys: int, rate: int) -> list[float]:
    """The wait of each call in seconds; one that would wait for longer than the queue allows begins none."""
    dice = random.Random(1)
    loads = [KeyLoad(str(number), rate) for number in range(keys)]
    waits = []
    for now in accumulate(dice.expovariate(calls_per_minute / 60) for _ in range(CALLS)):
        for load in loads:
            load.starts = [start for start in load.starts if start + WINDOW > now]
        begin, _, key = min(
            ((next(load.free_times(now, WINDOW)), len(load.starts), load) for load in loads), key=lambda each: each[:2]
        )
        waits.append(begin - now)
        if waits[-1] <= Settings((), "").queue_seconds:
            key.starts.append(begin)
    return waits
