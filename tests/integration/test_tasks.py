"""Image tasks: 202 at once, and the answer fetched later (contract 7.3)."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.instances import Instance
from tests.deploy.test_restarts import holder
from tests.integration.answer_beds import ANOTHER_KEY, STORES, Account, Bed, start_bed
from tests.integration.billing_gateway import PRICE
from tests.integration.process_metrics import is_stopped, stopped
from tests.integration.raw_http import EDITS, GENERATIONS, MODEL, Caller, Reply, children, head
from tests.support import processes
from tests.support.images import data_url
from tests.support.processes import API_KEY
from tests.support.prompted_minimax import new_prompt, start_prompted_minimax
from tests.support.waiting import wait_until

TASKS = "/v1/images/tasks"
RESPOND_ASYNC = "Prefer: respond-async"
RUNNING = ("queued", "in_progress")
DEATH_SECONDS = 30  # within which those who wait for a killed worker's call are told


@pytest.fixture(scope="session", params=STORES)
def bed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    with start_bed(request.param, tmp_path_factory.mktemp("tasks"), request) as bed:
        yield bed


def begin(account: Account, prompt: str, *lines: str, **fields: Any) -> str:
    """Begin a task of generations and return its path."""
    return accepted(account.generate(prompt, *lines, path=f"{GENERATIONS}/async", **fields))


def accepted(reply: Reply) -> str:
    """The path of the task, after a check of the whole 202."""
    assert reply.status == 202, reply.body
    assert set(reply.json) == {"id", "object", "status", "created"}
    assert (reply.json["object"], reply.json["status"] in RUNNING) == ("image.task", True)
    assert abs(reply.json["created"] - time.time()) < 60
    assert reply.headers["location"] == f"{TASKS}/{reply.json['id']}"
    assert reply.headers.get("x-amux-charged", "0") == "0"
    return reply.headers["location"]


def fetch(account: Account, path: str, wait: int | None = None) -> Reply:
    reply = account.get(path if wait is None else f"{path}?wait={wait}")
    assert reply.status == 200, reply.body
    assert reply.headers["cache-control"] == "no-store"
    assert (reply.json["object"], path) == ("image.task", f"{TASKS}/{reply.json['id']}")
    return reply


def finished(account: Account, path: str) -> dict[str, Any]:
    """Wait for the end of the task and return its document."""
    document: dict[str, Any] = {"status": "queued"}
    give_up = time.monotonic() + 60
    while document["status"] in RUNNING:
        assert time.monotonic() < give_up
        document = fetch(account, path, wait=20).json
    return document


def check_completed(account: Account, path: str) -> dict[str, Any]:
    """The task has completed with the usual body, which is returned."""
    document = finished(account, path)
    assert set(document) == {"id", "object", "status", "created", "result"}
    assert document["status"] == "completed"
    result: dict[str, Any] = document["result"]
    assert set(result) == {"created", "data", "metadata"}
    return result


# Beginning a task

WAYS: dict[str, Callable[[Account, str], Reply]] = {
    "generations/async": lambda account, prompt: account.generate(prompt, path=f"{GENERATIONS}/async"),
    "edits/async, form": lambda account, prompt: account.edit(prompt, path=f"{EDITS}/async"),
    "edits/async, json": lambda account, prompt: account.generate(prompt, path=f"{EDITS}/async", image=data_url()),
    "generations, Prefer": lambda account, prompt: account.generate(prompt, RESPOND_ASYNC),
    "edits, Prefer": lambda account, prompt: account.edit(prompt, RESPOND_ASYNC),
    "one of several": lambda account, prompt: account.generate(prompt, "Prefer: return=minimal, Respond-Async; wait=9"),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_task_is_begun_fetched_and_charged(bed: Bed, way: str) -> None:
    account, prompt = bed.account(), new_prompt("good", 0.5)
    reply = WAYS[way](account, prompt)
    path = accepted(reply)
    assert reply.headers.get("preference-applied") == (None if "/async" in way else "respond-async")
    result = check_completed(account, path)
    [image] = result["data"]
    assert image["url"].startswith("http://images.example/")
    [call] = [each for each in bed.upstream.received if each.json["prompt"] == prompt]
    has_reference = "subject_reference" in call.json
    assert has_reference == ("edits" in way)
    account.check_charged(1)
    assert fetch(account, path).json == finished(account, path), "fetched as often as wanted"
    account.check_charged(1)


def test_other_preferences_change_nothing(bed: Bed) -> None:
    reply = bed.account().generate(new_prompt("good"), "Prefer: return=minimal, wait=10")
    assert reply.status == 200
    assert "preference-applied" not in reply.headers


def test_a_running_task_says_so(bed: Bed) -> None:
    account, prompt = bed.account(), new_prompt("good")
    with bed.upstream.holding(prompt):
        path = begin(account, prompt)
        reply = fetch(account, path)
        assert set(reply.json) == {"id", "object", "status", "created"}
        assert reply.json["status"] in RUNNING
        assert 1 <= int(reply.headers["retry-after"]) <= 60
        assert fetch(account, path, wait=0).json["status"] in RUNNING
    document = finished(account, path)
    assert document["created"] == reply.json["created"]
    assert "retry-after" not in fetch(account, path).headers


def test_wait_ends_with_the_task_or_in_time(bed: Bed) -> None:
    account, prompt = bed.account(), new_prompt("good")
    with ThreadPoolExecutor(1) as pool:
        with bed.upstream.holding(prompt):
            path = begin(account, prompt)
            assert fetch(account, path, wait=1).json["status"] in RUNNING
            waiting = pool.submit(fetch, account, path, wait=60)
            time.sleep(0.5)  # it has begun to wait, which nothing shows
        released = time.monotonic()
        assert waiting.result().json["status"] == "completed"
    assert time.monotonic() - released < 30


@pytest.mark.parametrize("wait", ["-1", "61", "soon", "nan", ""])
def test_a_bad_wait_is_rejected(bed: Bed, wait: str) -> None:
    account = bed.account()
    reply = account.get(f"{begin(account, new_prompt('good'))}?wait={wait}")
    assert (reply.status, reply.error["param"]) == (400, "wait")


def test_one_key_begins_one_task(bed: Bed) -> None:
    account, prompt, key = bed.account(), new_prompt("good"), f"Idempotency-Key: {new_prompt('key')}"
    assert begin(account, prompt, key) == begin(account, prompt, key)
    reply = account.generate(prompt, key, path=f"{GENERATIONS}/async", seed=7)
    assert (reply.status, reply.error["code"]) == (422, "idempotency_key_reused")
    assert bed.upstream.calls(prompt) <= 1
    account.check_charged(1)


# Failed tasks

FAILURES = {"1026": (403, "1026"), "2013": (400, "2013"), "1002": (429, "1002"), "reset": (502, "upstream_interrupted")}


@pytest.mark.parametrize("kind", FAILURES)
def test_a_failed_task_holds_the_error(bed: Bed, kind: str) -> None:
    """The GET itself succeeds."""
    account, prompt = bed.account(), new_prompt(kind)
    document = finished(account, begin(account, prompt))
    assert set(document) == {"id", "object", "status", "created", "error"}
    error = document["error"]
    assert document["status"] == "failed"
    assert set(error) == {"message", "type", "param", "code", "http_status"}
    assert (error["http_status"], error["code"]) == FAILURES[kind]
    assert error["type"] == "minimax_image_error"
    assert bed.upstream.calls(prompt) == 1
    account.check_charged(0)


# Refusals come before the 202


def check_refused(bed: Bed, account: Account, prompt: str, reply: Reply, status: int, code: str) -> None:
    assert (reply.status, reply.error["code"]) == (status, code)
    assert "location" not in reply.headers
    time.sleep(0.2)
    assert bed.upstream.calls(prompt) == 0
    if account.storage:
        assert account.get(TASKS).json["data"] == []


def test_an_invalid_request_is_rejected_before_the_202(bed: Bed) -> None:
    account, prompt = bed.account(), new_prompt("good")
    reply = account.generate(prompt, path=f"{GENERATIONS}/async", n=10)
    check_refused(bed, account, prompt, reply, 400, "invalid_value")
    assert reply.error["param"] == "n"


def test_an_unknown_key_is_rejected_before_the_202(bed: Bed) -> None:
    stranger, prompt = Account(bed.gateway.url, "no-such-key"), new_prompt("good")
    check_refused(bed, stranger, prompt, stranger.generate(prompt, RESPOND_ASYNC), 401, "invalid_api_key")
    for path in (TASKS, f"{TASKS}/some"):
        assert (stranger.get(path).status, stranger.get(path).error["code"]) == (401, "invalid_api_key")


def test_a_balance_that_does_not_pay_is_rejected_before_the_202(bed: Bed) -> None:
    if bed.storage is None:
        return  # without a database there is no balance
    account, prompt = bed.account(balance=PRICE), new_prompt("good")
    reply = account.generate(prompt, path=f"{GENERATIONS}/async", n=2)
    check_refused(bed, account, prompt, reply, 429, "insufficient_balance")


def test_a_rate_limit_is_rejected_before_the_202(bed: Bed) -> None:
    if bed.storage is None:
        return  # without a database there are no limits
    account, prompt = bed.account(requests_per_minute=1), new_prompt("good")
    path = begin(account, new_prompt("good"))
    # Without Redis each of the two workers counts for itself.
    replies = [account.generate(prompt, path=f"{GENERATIONS}/async") for _ in range(2)]
    rejected = [reply for reply in replies if reply.status == 429]
    assert rejected
    assert int(rejected[0].headers["retry-after"]) >= 1
    check_completed(account, path)
    wait_until(lambda: bed.upstream.calls(prompt) == 2 - len(rejected), "each accepted call")
    assert len(account.get(TASKS).json["data"]) == 3 - len(rejected)


def test_a_task_holds_a_slot(tmp_path: Path) -> None:
    """A slot is a call in flight of one worker."""
    with (
        start_prompted_minimax() as upstream,
        processes.gateway(tmp_path, upstream.url, WEB_CONCURRENCY="1", AMUX_MAX_CALLS="1") as gateway,
    ):
        account = Account(gateway.url, API_KEY)
        prompt = new_prompt("good")
        with upstream.holding(prompt):
            path = begin(account, prompt)
            for reply in (account.generate(new_prompt("good")), account.generate(new_prompt("good"), RESPOND_ASYNC)):
                assert (reply.status, reply.error["code"]) == (503, "gateway_full")
        check_completed(account, path)  # which needs no slot
        wait_until(lambda: account.generate(new_prompt("good")).status == 200, "the slot")


# Whose tasks


def test_the_list_has_the_newest_first(bed: Bed) -> None:
    account = bed.account()
    paths = [begin(account, new_prompt("good")) for _ in range(3)]
    for path in paths:
        check_completed(account, path)
    reply = account.get(TASKS)
    assert (reply.status, reply.headers["cache-control"]) == (200, "no-store")
    assert (set(reply.json), reply.json["object"]) == ({"object", "data"}, "list")
    assert [f"{TASKS}/{task['id']}" for task in reply.json["data"]][:3] == paths[::-1]
    for task in reply.json["data"][:3]:
        assert {"id", "object", "status", "created"} <= set(task)
        assert (task["object"], task["status"]) == ("image.task", "completed")
    limited = account.get(f"{TASKS}?limit=2").json["data"]
    assert [task["id"] for task in limited] == [task["id"] for task in reply.json["data"][:2]]


@pytest.mark.parametrize("limit", ["0", "101", "-1", "many", ""])
def test_a_bad_limit_is_rejected(bed: Bed, limit: str) -> None:
    reply = bed.account().get(f"{TASKS}?limit={limit}")
    assert (reply.status, reply.error["param"]) == (400, "limit")


def test_another_keys_task_does_not_exist(bed: Bed) -> None:
    """It is the same 404 as that of an unknown id."""
    account, another = bed.account(), bed.account(ANOTHER_KEY)
    path = begin(account, new_prompt("good"))
    check_completed(account, path)
    replies = [another.get(path), another.get(f"{path}?wait=5"), account.get(f"{TASKS}/{'0' * 32}")]
    replies += [account.get(f"{TASKS}/{name}") for name in ("x", "..%2f..%2fetc", "%00", "a" * 500)]
    assert {reply.status for reply in replies} == {404}
    assert len({reply.error["code"] for reply in replies[:3]}) == 1
    assert path.rpartition("/")[2] not in another.get(TASKS).body.decode()


# Gateways that stop, and workers that are killed


@dataclass(frozen=True)
class Pair:
    """A gateway with exactly these two workers."""

    bed: Bed
    victim: int
    other: int


@contextmanager
def pair(store: str, folder: Path, request: pytest.FixtureRequest) -> Iterator[Pair]:
    with start_bed(store, folder, request) as bed:
        wait_until(lambda: len(children(bed.gateway.process.pid)) == 2, "two workers")
        yield Pair(bed, *children(bed.gateway.process.pid))


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("store", STORES)
def test_a_killed_worker_fails_its_calls_and_tells_those_who_wait(
    store: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A task, a call with an idempotency key, and a plain call that a retry waits for: none is sent again."""
    with pair(store, tmp_path, request) as workers, ExitStack() as stack:
        bed, account = workers.bed, workers.bed.account()
        task, keyed, plain = (new_prompt("good", 60) for _ in range(3))
        key = f"Idempotency-Key: {(name := keyed[-32:])}"

        def wait_for(data: bytes) -> Caller:
            return stack.enter_context(Caller(account.url)).send(data)

        with stopped(workers.other):
            path = begin(account, task)
            wait_for(account.request({"model": MODEL, "prompt": keyed}, key))
            wait_for(account.request({"model": MODEL, "prompt": plain})).socket.close()
            wait_until(lambda: all(bed.upstream.calls(each) for each in (task, keyed, plain)), "three calls")
            bed.wait_until_left(account)

        stack.callback(kill, workers.victim)
        os.kill(workers.victim, signal.SIGSTOP)  # so that the other worker accepts those who wait
        wait_until(lambda: is_stopped(workers.victim), "the worker stands still")
        get = wait_for(head("GET", f"{path}?wait=60", key=account.secret))
        again = wait_for(account.request({"model": MODEL, "prompt": keyed}, key))
        retry = wait_for(account.request({"model": MODEL, "prompt": plain}, "x-stainless-retry-count: 1"))
        for caller in (get, again, retry):
            wait_until(lambda caller=caller: holder(caller, [workers.other]) is not None, "accepted")  # type: ignore[misc]
            caller.socket.settimeout(DEATH_SECONDS)
        for each in (None, name):
            bed.wait_until_joined(account, 1, each)
        kill(workers.victim)

        document = get.reply("GET").json
        assert document["status"] == "failed"
        assert (document["error"]["code"], document["error"]["http_status"]) == ("outcome_unknown", 502)
        for caller in (again, retry):
            reply = caller.reply()
            assert (reply.status, reply.error["code"]) == (502, "outcome_unknown")
            assert reply.headers["x-should-retry"] == "false"
        later = account.generate(keyed, key)
        assert (later.status, later.headers["idempotent-replayed"]) == (502, "true")
        assert [bed.upstream.calls(each) for each in (task, keyed, plain)] == [1, 1, 1]
        if bed.storage:
            bed.storage.maintenance.run()
        account.check_charged(0)


def test_a_stopping_gateway_finishes_its_tasks(tmp_path: Path) -> None:
    """The result can be fetched from the next one with the same state folder."""
    with start_prompted_minimax() as upstream, ExitStack() as stack:
        instance = Instance(stack, tmp_path, upstream.url)
        account, prompt = Account(instance.url, API_KEY), new_prompt("good", 3)
        path = begin(account, prompt)
        wait_until(lambda: upstream.calls(prompt) == 1, "the call at MiniMax")
        instance.restart()
        assert check_completed(account, path)["data"][0]["url"].startswith("http://images.example/")
        assert upstream.calls(prompt) == 1


def test_a_killed_gateway_leaves_its_tasks_failed(tmp_path: Path) -> None:
    """Master and workers are killed. The next one on the same state folder does not send the call again."""
    with start_prompted_minimax() as upstream, ExitStack() as stack:
        instance = Instance(stack, tmp_path, upstream.url)
        account, prompt = Account(instance.url, API_KEY), new_prompt("good", 60)
        path = begin(account, prompt)
        wait_until(lambda: upstream.calls(prompt) == 1, "the call at MiniMax")
        for pid in (instance.served.process.pid, *children(instance.served.process.pid)):
            kill(pid)
        instance.served.process.wait()
        instance.served = instance._start()
        document = finished(account, path)
        assert (document["status"], document["error"]["code"]) == ("failed", "outcome_unknown")
        assert upstream.calls(prompt) == 1


def test_another_worker_may_be_asked(bed: Bed) -> None:
    """Whichever worker is asked, it answers."""
    account = bed.account()
    wait_until(lambda: len(children(bed.gateway.process.pid)) == 2, "two workers")
    one, other = children(bed.gateway.process.pid)
    with stopped(other):
        path = begin(account, new_prompt("good"))
        check_completed(account, path)
    for idle in (one, other):
        with stopped(idle):
            check_completed(account, path)
