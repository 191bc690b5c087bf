"""Many callers in a process of their own: `python -m tests.limits.crowd URL KEY`, or with `hold` and a lifetime."""

from __future__ import annotations

import sys
import time

from app.limits.counters import Call
from app.limits.in_redis import RedisCounters
from tests.limits.test_counting import at_once, both


def crowd(url: str, key: str) -> None:
    counters = RedisCounters(url, 600, socket_seconds=30)
    print("ready", flush=True)
    sys.stdin.readline()
    print(len(at_once(counters, [both(key, 50, 61, 2, 40) for _ in range(25)])), flush=True)
    counters.close()


def hold(url: str, key: str, lifetime: float) -> None:
    """One call that never ends."""
    assert RedisCounters(url, lifetime, socket_seconds=30).take(Call(key, max_calls=1)).admitted
    print("ready", flush=True)
    time.sleep(600)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        crowd(*sys.argv[1:])
    else:
        hold(sys.argv[2], sys.argv[3], float(sys.argv[4]))
