"""Scenarios: the load on each gateway, and the figures measured, by their keys in table.py."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import ExitStack

from bench.load import Load, Result
from bench.measure import cpu_ms, memory_kb, watched
from bench.payloads import BIG, HELD, PAUSED, SMALL, UPLOAD
from bench.servers import HOST, Running

Figures = dict[str, float]
Scenario = Callable[[Load, Running], Figures]

HELD_CALLS = 1000
ARRIVAL_SECONDS = 4  # half of their duration: all are in flight for the other half
FAST_PER_SECOND = 50
AT_ONCE = 8
SLOW_CONNECTIONS = 1500
RECOVERY_SECONDS = 10
SETTLE_SECONDS = 0.5  # work that a gateway does for a call after its response counts too


def one_connection(load: Load, running: Running) -> Figures:
    result = load.fast(running.gateway, SMALL, connections=1, seconds=3)
    return {"p50_ms": result.p50_ms, "p99_ms": result.p99_ms}


def many_connections(load: Load, running: Running) -> Figures:
    cpu_ms_a_call, result = _cpu_a_call(running, lambda: load.fast(running.gateway, PAUSED, connections=256, seconds=3))
    return {"cpu_small_ms": cpu_ms_a_call, "p99_small_ms": result.p99_ms}


def base64_responses(load: Load, running: Running) -> Figures:
    few, _ = _cpu_a_call(running, lambda: load.counted(running.gateway, BIG, connections=4, calls=40))
    more, _ = _cpu_a_call(running, lambda: load.counted(running.gateway, BIG, connections=AT_ONCE, calls=40))
    return {"cpu_base64_ms": few, "cpu_base64_8_ms": more}


def uploads(load: Load, running: Running) -> Figures:
    cpu_ms_a_call, _ = _cpu_a_call(running, lambda: load.counted(running.gateway, UPLOAD, connections=4, calls=32))
    return {"cpu_upload_ms": cpu_ms_a_call}


def held(load: Load, running: Running) -> Figures:
    """A thousand slow calls in flight, with fast callers at a fixed pace from just before until just after.

    The slow calls start over four seconds, so that the figures show the cost of holding calls. `_burst` measures how
    fast a thousand calls start.
    """
    gateway, before_kb, before_calls = running.gateway, memory_kb(running.pid), load.upstream_calls()
    every_us = ARRIVAL_SECONDS * 1_000_000 // HELD_CALLS
    paced = int(FAST_PER_SECOND * (HELD.wait_ms / 1000 + ARRIVAL_SECONDS + 1.5))
    with watched(running.pid, every_seconds=0.5) as peak:
        fast = load.start(gateway, SMALL, connections=128, calls=paced, interval_us=1_000_000 // FAST_PER_SECOND)
        time.sleep(0.2)
        slow = load.finish(load.start(gateway, HELD, HELD_CALLS, HELD_CALLS, every_us), before_calls)
        quick = load.finish(fast, before_calls)
    figures: Figures = {"held_good": slow.good, "held_upstream": quick.upstream_calls - paced}
    if slow.good == HELD_CALLS:
        figures["held_over_ms"] = slow.p99_ms - HELD.wait_ms
        figures["held_kb"] = (peak.kb - before_kb) / HELD_CALLS
    if quick.good == paced:
        figures["fast_p99_ms"] = quick.p99_ms
    return figures | _burst(load, running)


def _burst(load: Load, running: Running) -> Figures:
    result = load.counted(running.gateway, HELD, HELD_CALLS, HELD_CALLS)
    return {"burst_over_ms": result.p99_ms - HELD.wait_ms}


def base64_memory(load: Load, running: Running) -> Figures:
    return {"grown_base64_mb": _grown_mb(running, lambda: load.counted(running.gateway, BIG, AT_ONCE, calls=32))}


def upload_memory(load: Load, running: Running) -> Figures:
    return {"grown_upload_mb": _grown_mb(running, lambda: load.counted(running.gateway, UPLOAD, AT_ONCE, calls=32))}


def memory_left(load: Load, running: Running) -> Figures:
    """Memory that stays after 1,500 slow connections, which are then closed, and 7,400 ordinary calls."""
    before_kb = memory_kb(running.pid)
    head = b"POST /v1/images/generations HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    with ExitStack() as stack:
        for _ in range(SLOW_CONNECTIONS):
            connection = stack.enter_context(socket.create_connection((HOST, running.gateway.port)))
            connection.sendall(head)
        time.sleep(SETTLE_SECONDS)
    load.counted(running.gateway, SMALL, connections=64, calls=7400)
    time.sleep(RECOVERY_SECONDS)
    return {"left_mb": (memory_kb(running.pid) - before_kb) / 1024}


# Each runs on a freshly started gateway: memory left by an earlier scenario would hide what this one takes.
FRESH: tuple[Scenario, ...] = (held, base64_memory, upload_memory, memory_left)
# Repeated, one gateway after the other, so that other load on the machine affects all of them.
INTERLEAVED: tuple[Scenario, ...] = (one_connection, many_connections, base64_responses, uploads)


def idle(running: Running) -> Figures:
    time.sleep(2)
    return {"idle_mb": memory_kb(running.pid) / 1024}


def warm_up(load: Load, running: Running) -> None:
    """Send 200 small calls, so that every worker has done its one-time imports and connects."""
    load.counted(running.gateway, SMALL, connections=16, calls=200)
    time.sleep(SETTLE_SECONDS)


def _cpu_a_call(running: Running, calls: Callable[[], Result]) -> tuple[float, Result]:
    before = cpu_ms(running.pid)
    result = calls()
    time.sleep(SETTLE_SECONDS)
    return (cpu_ms(running.pid) - before) / result.upstream_calls, result


def _grown_mb(running: Running, calls: Callable[[], Result]) -> float:
    before_kb = memory_kb(running.pid)
    with watched(running.pid, every_seconds=0.03) as peak:
        calls()
    return max(0, peak.kb - before_kb) / 1024
