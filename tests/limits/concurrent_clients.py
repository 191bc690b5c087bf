"""Many callers in one process: `python -m tests.limits.concurrent_clients URL KEY`, or `hold` with a lifetime."""

from __future__ import annotations

import sys
import time

from app.limits.redis_store import RedisStore
from app.limits.store import LimitRequest
from tests.limits.test_store import at_once, both


def crowd(url: str, key: str) -> None:
    counters = RedisStore(url, 600, socket_seconds=30)
    print("ready", flush=True)
    sys.stdin.readline()
    print(len(at_once(counters, [both(key, 50, 61, 2, 40) for _ in range(25)])), flush=True)
    counters.close()


def hold(url: str, key: str, lifetime: float) -> None:
    """One call that never ends."""
    assert RedisStore(url, lifetime, socket_seconds=30).acquire(LimitRequest(key, max_calls=1)).admitted
    print("ready", flush=True)
    time.sleep(600)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        crowd(*sys.argv[1:])
    else:
        hold(sys.argv[2], sys.argv[3], float(sys.argv[4]))
