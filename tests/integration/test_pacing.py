"""Many upstream keys, paced, and a queue in front of them: real gunicorn, in front of a MiniMax that counts.

MiniMax counts the calls of a key in a window of one second instead of a minute. The margin that the gateway adds is
that of a real minute, 1.2 seconds: on a machine whose cores are all busy a call takes up to 0.9 seconds from its turn
to MiniMax, and that does not shrink with the window. So the amount of calls is measured in windows with the margin, and
must be 0.97 of what those allow; with a window of a minute that is 0.95.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from app.accounts.api_key import fingerprint
from app.pacing.store import WINDOW_MARGIN, WINDOW_SECONDS
from tests.integration.billing_gateway import billing_gateway
from tests.integration.paced_upstream import paced_upstream
from tests.integration.process_metrics import Metrics
from tests.integration.raw_http import (
    MODEL,
    Caller,
    Reply,
    ask,
    children,
    generation,
    health,
    json_lines,
    only_line,
    post,
    request_id,
)
from tests.support import processes
from tests.support.databases import ScratchDatabase
from tests.support.processes import API_KEY, Served, procfile_command
from tests.support.redis_server import needs_redis, redis_server
from tests.support.waiting import wait_until

WINDOW, MARGIN = 1.0, WINDOW_SECONDS * WINDOW_MARGIN
PERIOD, SHARE = WINDOW + MARGIN, 0.97
KEYS = tuple(f"sk-upstream-number-{number}" for number in range(4))
RATE = 10
PER_WINDOW = len(KEYS) * RATE
COMMAND = procfile_command("web").replace("wsgi:app", "tests.integration.paced_app:app")
OTHER_KEY = "another-caller-key-for-tests"


def paced(
    keys: tuple[str, ...] = KEYS,
    rate: int = RATE,
    *,
    window: float = WINDOW,
    margin: float = MARGIN,
    **more: str,
) -> dict[str, str]:
    """The variables of a gateway with these upstream keys."""
    return {
        "MINIMAX_API_KEYS": ",".join(keys),
        "MINIMAX_REQUESTS_PER_MINUTE": str(rate),
        "AMUX_REST_KEYS": "true",
        "AMUX_API_KEYS": f"{API_KEY},{OTHER_KEY}",
        "PACED_WINDOW_SECONDS": str(window),
        "PACED_MARGIN_SECONDS": str(margin),
    } | more


@contextmanager
def gateway(tmp_path: Path, upstream_url: str, **variables: str) -> Iterator[Served]:
    with processes.gateway(tmp_path, upstream_url, COMMAND, **variables) as served:
        yield served


class EndlessCallers:
    """Callers that send the next call as soon as they have the last one's response, until the block ends."""

    def __init__(self, *urls: str, count: int) -> None:
        self.replies: list[Reply] = []
        self.lost = 0  # connections that broke
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._call, args=(urls[number % len(urls)], f"caller {number}"))
            for number in range(count)
        ]

    def __enter__(self) -> EndlessCallers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a caller hangs"

    def _call(self, url: str, prompt: str) -> None:
        while not self._stopped.is_set():
            try:
                with Caller(url) as caller:
                    while not self._stopped.is_set():
                        self.replies.append(caller.send(generation(prompt)).reply())
            except OSError:
                self.lost += 1
                time.sleep(0.05)
            except Exception:  # half a response of a worker that was killed
                self.lost += 1

    def outcomes(self) -> Counter[tuple[int, str]]:
        return Counter((reply.status, "" if reply.status == 200 else reply.error["code"]) for reply in self.replies)


def test_overload_uses_the_whole_rate_and_never_exceeds_it(tmp_path: Path) -> None:
    with (
        paced_upstream(RATE, WINDOW) as upstream,
        gateway(tmp_path, upstream.url, **paced(), AMUX_STATE_FOLDER=str(tmp_path / "state")) as served,
    ):
        with EndlessCallers(served.url, count=2 * PER_WINDOW) as callers:
            wait_until(lambda: bool(upstream.arrivals), "a first call")
            began = upstream.arrivals[0].at
            time.sleep(began + 10 * PERIOD - time.monotonic())
        assert upstream.begun_between(began, began + 10 * PERIOD) >= SHARE * 10 * PER_WINDOW
        assert upstream.refused == []
        assert upstream.busiest() <= RATE
        assert set(callers.outcomes()) == {(200, "")}
        assert callers.lost == 0
        waited = [int(reply.headers["x-amux-queued-ms"]) for reply in callers.replies]
        assert sum(ms < 200 for ms in waited) >= PER_WINDOW / 2
        assert max(waited) <= 30_000
        check_what_the_operator_sees(served, tmp_path / "state", callers.replies)


def check_what_the_operator_sees(served: Served, state_folder: Path, replies: list[Reply]) -> None:
    lines = [line for line in json_lines(served.log) if line["message"] == "request" and line["n"]]
    assert {line["upstream_key"] for line in lines} == {fingerprint(key) for key in KEYS}
    assert max(line["queued_ms"] for line in lines) >= 1000 * WINDOW / 2
    shown = [served.log.read_bytes(), *(reply.body for reply in replies)]
    shown += [str(reply.headers).encode() for reply in replies]
    shown += [file.read_bytes() for file in state_folder.rglob("*") if file.is_file()]
    shown.append(Metrics(served.url).text.encode())
    assert list(state_folder.rglob("*.db"))
    assert not any(key.encode() in each for each in shown for key in KEYS)
    assert Metrics(served.url).by("amux_upstream_keys", "state") == {("healthy",): len(KEYS)}
    assert Metrics(served.url)["amux_queue_seconds_count"] == len(lines)
    wait_until(lambda: Metrics(served.url)["amux_calls_waiting"] == 0, "no call waits")


@needs_redis
def test_instances_share_the_rate_and_pace_alone_while_redis_is_gone(tmp_path: Path) -> None:
    lose_redis(tmp_path, windows=4)


def lose_redis(tmp_path: Path, windows: int) -> None:
    with (
        redis_server(tmp_path) as redis,
        paced_upstream(RATE, WINDOW) as upstream,
        gateway(tmp_path, f"{upstream.url}/one", **paced(), REDIS_URL=redis.url) as one,
        gateway(tmp_path, f"{upstream.url}/two", **paced(), REDIS_URL=redis.url) as two,
        EndlessCallers(one.url, two.url, count=2 * PER_WINDOW) as callers,
    ):
        wait_until(lambda: bool(upstream.arrivals), "a first call")
        began = upstream.arrivals[0].at
        killed = began + windows * PERIOD
        time.sleep(killed - time.monotonic())
        assert upstream.begun_between(began, killed) >= SHARE * windows * PER_WINDOW
        assert upstream.refused == []
        assert upstream.busiest() <= RATE
        assert set(callers.outcomes()) == {(200, "")}

        redis.kill()
        alone = time.monotonic() + WINDOW  # what was begun before the kill is known to nobody
        time.sleep(2.5 * PERIOD)
        for path in ("/one", "/two"):
            assert upstream.busiest(since=alone, path=path) <= RATE
        assert upstream.begun_between(alone, time.monotonic()) >= PER_WINDOW

        redis.start()
        time.sleep(4.0 + PERIOD)  # until the instances have noticed, and MiniMax has forgotten what they began alone
        back, refused = time.monotonic(), len(upstream.refused)
        time.sleep(2 * PERIOD)
        assert upstream.begun_between(back, back + 2 * PERIOD) >= 0.75 * 2 * PER_WINDOW
        assert len(upstream.refused) == refused
        assert upstream.busiest(since=back) <= RATE
    assert {status for status, _ in callers.outcomes()} <= {200, 429}
    assert callers.lost == 0


def test_a_caller_with_hundreds_of_calls_delays_anothers_first_by_a_turn(tmp_path: Path) -> None:
    """One key that begins one call in a window: each arrival at MiniMax is one turn of the pool."""
    window = 0.4
    variables = paced(KEYS[:1], 1, window=window, margin=0.02, AMUX_QUEUE_SECONDS="600")
    with (
        paced_upstream(0, window) as upstream,
        gateway(tmp_path, upstream.url, **variables) as served,
        ExitStack() as stack,
    ):
        for number in range(200):
            stack.enter_context(Caller(served.url)).send(generation(f"busy {number}"))
        wait_until(lambda: Metrics(served.url)["amux_calls_waiting"] >= 195, "200 calls wait")
        for number in range(5):
            line = f"Authorization: Bearer {OTHER_KEY}"
            call = post({"model": MODEL, "prompt": f"rare {number}"}, line, key=None)
            reply = ask(served.url, call)
            assert reply.status == 200
            [began] = [arrival.at for arrival in upstream.arrivals if arrival.prompt == f"rare {number}"]
            waited = int(reply.headers["x-amux-queued-ms"]) / 1000
            assert sum(began - waited <= arrival.at < began for arrival in upstream.arrivals) <= 2


def test_callers_that_leave_while_they_wait_cost_nothing_and_free_their_place(
    test_db: ScratchDatabase, tmp_path: Path
) -> None:
    variables: dict[str, Any] = paced(KEYS[:1], 2, window=1.0) | {"AMUX_API_KEYS": ""}
    with (
        paced_upstream(2, 1.0) as upstream,
        billing_gateway(test_db, tmp_path, upstream.url, balance=1000, command=COMMAND, **variables) as paid,
    ):
        for prompt in ("first", "second"):
            assert ask(paid.gateway.url, paid.drawing(prompt)).status == 200
        with ExitStack() as stack:
            for number in range(12):
                stack.enter_context(Caller(paid.gateway.url)).send(paid.drawing(f"gone {number}"))
            wait_until(lambda: waiting(paid.gateway) + gone(paid.gateway) >= 12, "all wait")
        reply = ask(paid.gateway.url, paid.drawing("stays"))
        assert reply.status == 200
        wait_until(lambda: waiting(paid.gateway) == 0, "nobody waits")
        prompts = [arrival.prompt for arrival in upstream.arrivals]
        begun_before_they_left = [prompt for prompt in prompts if prompt.startswith("gone")]
        assert [prompt for prompt in prompts if prompt not in begun_before_they_left] == ["first", "second", "stays"]
        assert len(begun_before_they_left) <= 2
        wait_until(lambda: Counter(paid.kinds()) == {"reserve": len(prompts), "settle": len(prompts)}, "all charged")
        assert paid.balance == 1000 - 100 * len(prompts)
        wait_until(lambda: gone(paid.gateway) == 12 - len(begun_before_they_left), "a line about each that left")


def waiting(served: Served) -> float:
    return Metrics(served.url)["amux_calls_waiting"]


def gone(served: Served) -> int:
    return sum(line.get("code") == "caller_gone" and line["status"] == 499 for line in json_lines(served.log))


def test_workers_killed_at_random_stop_nobody_and_the_rate_is_kept(tmp_path: Path) -> None:
    kill_workers(tmp_path, kills=10)


def kill_workers(tmp_path: Path, kills: int) -> tuple[int, int]:
    """The number of calls that MiniMax has begun, and of connections that broke."""
    window, chance = 1.0, random.Random(kills)
    with (
        paced_upstream(RATE, window) as upstream,
        gateway(tmp_path, upstream.url, **paced(KEYS[:2], window=window), WEB_CONCURRENCY="3") as served,
    ):
        with EndlessCallers(served.url, count=60) as callers:
            for _ in range(kills):
                time.sleep(chance.uniform(0.1, 0.9))
                with_workers = children(served.process.pid)
                os.kill(chance.choice(with_workers), signal.SIGKILL)
                wait_until(lambda: len(children(served.process.pid)) == 3, "a new worker")
            last, begun = time.monotonic(), len(upstream.begun)
            wait_until(lambda: len(upstream.begun) >= begun + 2 * RATE, "calls go on")
            assert time.monotonic() - last < 20
        assert upstream.refused == []
        assert upstream.busiest() <= RATE
        assert {status for status, _ in callers.outcomes()} == {200}
        assert ask(served.url, generation("afterwards")).status == 200
        return len(upstream.begun), callers.lost


def test_a_stop_serves_those_whose_turn_comes_and_tells_the_others_to_come_back(tmp_path: Path) -> None:
    # Of the turns at 4 and 8 s, only the first comes within the drain, if the gateway stops before 1.6 s.
    variables = paced(KEYS[:1], 2, window=3.6, margin=0.4, PACED_DRAIN_SECONDS="6.4")
    with (
        paced_upstream(2, 3.6) as upstream,
        gateway(tmp_path, upstream.url, **variables) as served,
        ExitStack() as stack,
    ):
        for number in range(2):
            assert ask(served.url, generation(f"begun {number}")).status == 200
        callers = [stack.enter_context(Caller(served.url)) for _ in range(6)]
        for number, caller in enumerate(callers):
            caller.send(generation(f"waits {number}"))
        wait_until(lambda: waiting(served) == 6, "six wait")
        served.process.terminate()
        replies = [caller.reply() for caller in callers]
        assert Counter(reply.status for reply in replies) == {200: 2, 503: 4}
        for reply in replies:
            if reply.status == 503:
                assert reply.error["code"] == "shutting_down"
                assert reply.headers["x-should-retry"] == "true"
                assert int(reply.headers["retry-after"]) >= 1
        assert served.process.wait(30) == 0
        assert len(upstream.arrivals) == 4


def test_no_caller_sees_an_account_that_turns_out_empty_in_the_middle(tmp_path: Path) -> None:
    with (
        paced_upstream(RATE, WINDOW) as upstream,
        gateway(tmp_path, upstream.url, **paced(KEYS[:3])) as served,
    ):
        with EndlessCallers(served.url, count=45) as callers:
            wait_until(lambda: len(upstream.begun) >= 2 * RATE, "some calls")
            upstream.codes[KEYS[0]] = 1008
            wait_until(lambda: bool(upstream.refused), "a call with the empty account")
            time.sleep(PERIOD / 2)
            asked = len(upstream.refused)  # by the calls of one burst
            time.sleep(2 * PERIOD)
            assert health(served.url, "/readyz") == 200
        assert set(callers.outcomes()) == {(200, "")}
        assert asked <= RATE
        assert [arrival.code for arrival in upstream.refused] == [1008] * asked
        assert upstream.busiest() <= RATE
        assert Metrics(served.url).by("amux_upstream_key_rests_total", "reason") == {("account",): asked}
        identifier = request_id()
        assert ask(served.url, generation("seen", f"x-request-id: {identifier}")).status == 200
        line = only_line(served, identifier)
        assert line["upstream_key"] in {fingerprint(key) for key in KEYS[1:3]}
        assert isinstance(line["queued_ms"], int)


if __name__ == "__main__":  # by hand: python -m tests.integration.test_pacing kill|redis FOLDER COUNT
    import sys

    if sys.argv[1] == "kill":
        print(kill_workers(Path(sys.argv[2]), int(sys.argv[3])))
    else:
        lose_redis(Path(sys.argv[2]), int(sys.argv[3]))
