"""Many concurrent calls in one process: `python -m tests.limits.concurrent_clients URL KEY`.

`… hold URL KEY LIFETIME` acquires one call and never releases it.
"""

from __future__ import annotations

import sys
import time

from app.limits.redis_store import RedisStore
from app.limits.store import LimitRequest
from tests.limits.test_store import at_once, both


def acquire_many(url: str, key: str) -> None:
    store = RedisStore(url, 600, socket_timeout_seconds=30)
    print("ready", flush=True)
    sys.stdin.readline()
    print(len(at_once(store, [both(key, 50, 61, 2, 40) for _ in range(25)])), flush=True)
    store.close()


def hold(url: str, key: str, lifetime: float) -> None:
    assert RedisStore(url, lifetime, socket_timeout_seconds=30).acquire(LimitRequest(key, max_calls=1)).admitted
    print("ready", flush=True)
    time.sleep(600)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        acquire_many(*sys.argv[1:])
    else:
        hold(sys.argv[2], sys.argv[3], float(sys.argv[4]))
