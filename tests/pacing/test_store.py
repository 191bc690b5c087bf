"""What both pacer stores promise: rates, order, places, rests, probes, and workers that die."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from itertools import pairwise

import pytest

from app.pacing.store import (
    WINDOW_MARGIN,
    Grant,
    KeyState,
    PacerStore,
    QueueFull,
    RestReason,
    Ticket,
    Wait,
    WorkerForgotten,
)
from tests.pacing.conftest import LEASE_SECONDS, SHORT_WINDOW, WINDOW, Pacing
from tests.support.processes import ROOT
from tests.support.redis_server import needs_redis

MANY = 1000


def ticket(caller: str = "alice", worker: str = "one", *excluded: str, urgent: bool = False) -> Ticket:
    return Ticket(uuid.uuid4().hex, caller, worker, frozenset(excluded), urgent)


def granted(store: PacerStore, call: Ticket) -> Grant:
    found = store.request(call, MANY)
    assert isinstance(found, Grant)
    assert found.ticket_id == call.id
    return found


def waits(store: PacerStore, call: Ticket) -> Ticket:
    assert isinstance(store.request(call, MANY), Wait)
    return call


def fill(store: PacerStore, count: int) -> list[Grant]:
    return [granted(store, ticket()) for _ in range(count)]


def served(store: PacerStore, count: int, *workers: str) -> list[str]:
    """Take turns until `count` tickets have had one: their ids in order."""
    order: list[str] = []
    give_up = time.monotonic() + 20
    while len(order) < count:
        assert time.monotonic() < give_up
        for worker in workers or ("one",):
            grants, _ = store.take(worker)
            order += [grant.ticket_id for grant in grants]
        time.sleep(0.01)
    return order


def state(store: PacerStore, number: int = 0) -> KeyState:
    return store.key_states()[number]


# Turns


def test_a_call_begins_at_once_with_the_key_that_is_least_used(pacing: Pacing) -> None:
    store = pacing.create(2, 4)
    grants = fill(store, 6)
    assert Counter(grant.fingerprint for grant in grants) == {"key-0": 2, "key-1": 4}
    assert [grant.fingerprint for grant in grants[:3]] == ["key-0", "key-1", "key-1"]
    assert len({grant.start_id for grant in grants}) == 6
    assert not any(grant.probe for grant in grants)
    assert [(s.fingerprint, s.rate, s.started, s.rest) for s in store.key_states()] == [
        ("key-0", 2, 2, None),
        ("key-1", 4, 4, None),
    ]
    assert store.waiting() == 0


def test_a_key_of_rate_0_is_not_paced(pacing: Pacing) -> None:
    store = pacing.create(0)
    assert {grant.fingerprint for grant in fill(store, 100)} == {"key-0"}
    assert state(store).started == 0


def test_a_call_waits_until_the_first_start_has_left_the_window(pacing: Pacing) -> None:
    store = pacing.create(2)
    began = time.monotonic()
    fill(store, 2)
    late = ticket()
    found = store.request(late, MANY)
    assert isinstance(found, Wait)
    assert found.seconds is not None
    assert WINDOW - (time.monotonic() - began) <= found.seconds <= WINDOW * (1 + WINDOW_MARGIN)
    grants, seconds = store.take("one")
    assert not grants
    assert seconds is not None
    assert 0 < seconds <= WINDOW
    assert store.waiting() == 1
    assert served(pacing.impatient(2), 1) == [late.id]
    assert time.monotonic() - began >= SHORT_WINDOW
    assert store.waiting() == 0


def test_nobody_overtakes_those_who_wait(pacing: Pacing) -> None:
    store, impatient = pacing.create(1), pacing.impatient(1)
    fill(store, 1)
    first = waits(store, ticket("alice"))
    time.sleep(SHORT_WINDOW * 1.1)
    second = waits(impatient, ticket("alice"))
    assert served(impatient, 2) == [first.id, second.id]


def test_a_ticket_that_waits_is_not_enqueued_again(pacing: Pacing) -> None:
    store = pacing.create(1)
    fill(store, 1)
    first, second = waits(store, ticket()), waits(store, ticket())
    waits(store, first)
    assert store.waiting() == 2
    assert isinstance(store.request(first, 2), Wait)
    assert served(pacing.impatient(1), 2) == [first.id, second.id]


def test_each_worker_takes_its_own_tickets_in_the_common_order(pacing: Pacing) -> None:
    store, other = pacing.create(2), pacing.join(2)
    started = fill(store, 2)
    tickets = [waits(store if n % 2 else other, ticket(worker=f"worker-{n % 2}")) for n in range(4)]
    for grant in started:
        store.give_back(grant)
    grants, _ = store.take("worker-1")  # one of two free places; the other belongs to worker-0
    assert [grant.ticket_id for grant in grants] == [tickets[1].id]
    grants, _ = store.take("worker-1")
    assert grants == []
    grants, _ = other.take("worker-0")
    assert [grant.ticket_id for grant in grants] == [tickets[0].id]


def test_the_wait_is_what_the_place_in_the_queue_means(pacing: Pacing) -> None:
    store = pacing.create(2)
    fill(store, 2)
    found = [store.request(ticket(), MANY) for _ in range(6)]
    seconds = [wait.seconds for wait in found if isinstance(wait, Wait) and wait.seconds is not None]
    windows = [round(each / WINDOW) for each in seconds]
    assert windows == [1, 1, 2, 2, 3, 3]


# Order


def test_turns_go_round_the_callers(pacing: Pacing) -> None:
    store = pacing.create(3)
    fill(store, 3)
    busy = [waits(store, ticket("busy")).id for _ in range(4)]
    calm = [waits(store, ticket("calm")).id for _ in range(2)]
    rare = waits(store, ticket("rare")).id
    assert served(pacing.impatient(3), 7) == [busy[0], calm[0], rare, busy[1], calm[1], busy[2], busy[3]]


def test_who_comes_later_gets_no_arrears(pacing: Pacing) -> None:
    """A caller that has been away is next once, not as often as the others were served meanwhile."""
    store, impatient = pacing.create(2), pacing.impatient(2)
    fill(store, 2)
    busy = [waits(store, ticket("busy")).id for _ in range(6)]
    assert served(impatient, 2) == busy[:2]
    late = [waits(store, ticket("late")).id for _ in range(2)]
    order = served(impatient, 6)
    assert order[0] == busy[2]
    assert order[1:5] == [late[0], busy[3], late[1], busy[4]] or order[1:5] == [busy[3], late[0], busy[4], late[1]]


def test_turns_of_calls_that_have_left_do_not_count_against_their_caller(pacing: Pacing) -> None:
    store = pacing.create(1)
    fill(store, 1)
    others = [waits(store, ticket("calm")).id for _ in range(3)]
    for left in [waits(store, ticket("busy")) for _ in range(50)]:
        assert store.leave(left.id)
    again = waits(store, ticket("busy")).id
    assert served(pacing.impatient(1), 2) == [others[0], again]


def test_an_urgent_ticket_goes_first(pacing: Pacing) -> None:
    store, impatient = pacing.create(1), pacing.impatient(1)
    fill(store, 1)
    first, second = waits(store, ticket("alice")), waits(store, ticket("bob"))
    assert served(impatient, 1) == [first.id]
    urgent = waits(store, ticket("carol", urgent=True))
    later = waits(store, ticket("carol", urgent=True))
    assert served(impatient, 3) == [urgent.id, later.id, second.id]


def test_a_ticket_never_gets_a_key_that_it_excludes_and_does_not_block_others(pacing: Pacing) -> None:
    store = pacing.create(1, 1)
    assert granted(store, ticket("alice", "one", "key-0")).fingerprint == "key-1"
    picky = waits(store, ticket("alice", "one", "key-1", "key-0"))
    assert granted_later(store, waits(store, ticket("bob"))).fingerprint == "key-0"
    assert store.waiting() == 1
    assert store.leave(picky.id)
    urgent = ticket("alice", "one", "key-0", urgent=True)
    assert granted_later(pacing.impatient(1, 1), waits(store, urgent)).fingerprint == "key-1"


def granted_later(store: PacerStore, call: Ticket) -> Grant:
    give_up = time.monotonic() + 20
    while time.monotonic() < give_up:
        grants, _ = store.take(call.worker)
        if grants:
            [grant] = grants
            assert grant.ticket_id == call.id
            return grant
        time.sleep(0.01)
    raise AssertionError("no turn")


# Places


def test_the_queue_is_full_for_all_but_urgent_tickets(pacing: Pacing) -> None:
    store = pacing.create(1)
    fill(store, 1)
    first = ticket()
    assert isinstance(store.request(first, 2), Wait)
    assert isinstance(store.request(ticket("bob"), 2), Wait)
    with pytest.raises(QueueFull):
        store.request(ticket("carol"), 2)
    assert store.waiting() == 2
    assert isinstance(store.request(ticket("dave", urgent=True), 2), Wait)
    assert store.waiting() == 3


@pytest.mark.parametrize("pacing", [pytest.param("redis", marks=needs_redis)], indirect=True)
def test_each_instance_has_its_own_bound(pacing: Pacing) -> None:
    store = pacing.create(1)
    fill(store, 1)
    other = pacing.join(1)
    first = ticket()
    assert isinstance(store.request(first, 1), Wait)
    assert isinstance(other.request(ticket(worker="other"), 1), Wait)
    with pytest.raises(QueueFull):
        store.request(ticket(), 1)
    with pytest.raises(QueueFull):
        other.request(ticket(worker="other"), 1)
    assert other.leave(first.id)
    assert isinstance(store.request(ticket(), 1), Wait)


def test_who_leaves_frees_its_place(pacing: Pacing) -> None:
    store = pacing.create(1)
    fill(store, 1)
    first, second = waits(store, ticket()), waits(store, ticket())
    assert store.leave(first.id)
    assert not store.leave(first.id)
    assert store.waiting() == 1
    assert served(pacing.impatient(1), 1) == [second.id]
    assert not store.leave(second.id)


def test_a_turn_that_is_given_back_is_the_next_ones(pacing: Pacing) -> None:
    store = pacing.create(1)
    [grant] = fill(store, 1)
    store.give_back(grant)
    assert state(store).started == 0
    [grant] = fill(store, 1)
    second = waits(store, ticket())
    store.give_back(grant)
    assert served(store, 1) == [second.id]
    assert state(store).started == 1


# Rests


@pytest.mark.parametrize("reason", ["rate", "refused"])
def test_a_key_rests_and_comes_back_by_itself(pacing: Pacing, reason: RestReason) -> None:
    store = pacing.create(10, 10)
    [grant] = fill(store, 1)
    store.rest(grant, reason, "1002", 50, 100)
    rest = state(store).rest
    assert rest is not None
    assert (rest.reason, rest.code) == (reason, "1002")
    assert 0 < rest.seconds <= 50
    assert {granted(store, ticket()).fingerprint for _ in range(3)} == {"key-1"}
    store.rest(replace(grant, probe=True), reason, "1002", 0.1, 100)  # only a probe's report shortens a rest
    time.sleep(0.12)
    assert state(store).rest is None
    grants = fill(store, 6)
    assert {grant.fingerprint for grant in grants} == {"key-0", "key-1"}
    assert not any(grant.probe for grant in grants)


def test_only_the_first_report_of_a_rest_counts(pacing: Pacing) -> None:
    """Several calls are under way when an account turns out empty; they are one rest, not a doubling each."""
    store = pacing.create(10)
    for grant in fill(store, 3):
        store.rest(grant, "account", "1008", 100, 10_000)
    rest = state(store).rest
    assert rest is not None
    assert 90 < rest.seconds <= 100


def test_an_empty_account_is_probed_by_one_call_and_rests_twice_as_long_each_time(pacing: Pacing) -> None:
    store = pacing.create(10)
    [call] = fill(store, 1)
    for seconds in (100, 200, 400):
        store.rest(call, "account", "1008", 100, 1000)
        rest = state(store).rest
        assert rest is not None
        assert seconds * 0.7 < rest.seconds <= seconds
        store.stop_probe(call)  # as if the rest were over
        call = granted(store, ticket())
        assert call.probe
        assert state(store).rest is not None
        other = ticket("bob")
        assert store.request(other, MANY) == Wait(None)  # nobody else meanwhile
        assert store.take("one") == ([], None)
        assert store.leave(other.id)
    longest = 0.05
    store.rest(call, "account", "1008", 100, longest)
    time.sleep(longest + 0.02)
    assert state(store).rest is None
    assert granted(store, ticket()).probe


def test_a_probe_that_succeeds_ends_the_rest_and_the_doubling(pacing: Pacing) -> None:
    store = pacing.create(10)
    [grant] = fill(store, 1)
    store.rest(grant, "account", "1008", 0.05, 1000)
    time.sleep(0.07)
    probe = granted(store, ticket())
    store.recover(probe)
    assert state(store).rest is None
    [grant, *_] = fill(store, 3)
    assert not grant.probe
    store.rest(grant, "account", "1008", 10, 1000)
    rest = state(store).rest
    assert rest is not None
    assert rest.seconds <= 10


@pytest.mark.parametrize("ended", ["give_back", "stop_probe"])
def test_a_probe_that_tells_nothing_is_followed_by_another(pacing: Pacing, ended: str) -> None:
    store = pacing.create(10)
    [grant] = fill(store, 1)
    store.rest(grant, "account", "1008", 0.05, 1000)
    time.sleep(0.07)
    probe = granted(store, ticket())
    getattr(store, ended)(probe)
    assert state(store).started == (1 if ended == "give_back" else 2)
    assert granted(store, ticket()).probe


def test_a_probe_that_never_reports_is_followed_by_another(pacing: Pacing, short_probe: float) -> None:
    store = pacing.create(10)
    [grant] = fill(store, 1)
    store.rest(grant, "account", "1008", 0.05, 1000)
    waits(store, ticket("bob", "one", "key-0"))  # so that the others wait too, whatever the key does
    first, second = waits(store, ticket()), waits(store, ticket())
    began = time.monotonic()
    assert granted_later(store, first).probe
    assert granted_later(store, second).probe
    assert time.monotonic() - began >= short_probe


def test_no_turn_is_promised_while_each_key_has_failed(pacing: Pacing) -> None:
    store = pacing.create(10, 10)
    first, second = fill(store, 2)
    store.rest(first, "account", "1008", 100, 1000)
    assert granted(store, ticket()).fingerprint == second.fingerprint
    waits_for_second = store.request(ticket("alice", "one", second.fingerprint), MANY)
    assert waits_for_second == Wait(None)
    store.rest(second, "refused", "1004", 100, 1000)
    assert store.request(ticket(), MANY) == Wait(None)
    assert store.take("one") == ([], None)


@pytest.mark.parametrize("pacing", ["sqlite"], indirect=True)
def test_a_thousand_rests_in_a_row(pacing: Pacing) -> None:
    store = pacing.create(10)
    [grant] = fill(store, 1)
    probe = Grant(grant.ticket_id, grant.fingerprint, grant.start_id, probe=True)
    for _ in range(1100):
        store.rest(probe, "account", "1008", 300, 3600)
    rest = state(store).rest
    assert rest is not None
    assert 3590 < rest.seconds <= 3600


def test_a_start_of_the_gateway_ends_all_rests(pacing: Pacing) -> None:
    store = pacing.create(10)
    [grant] = fill(store, 1)
    store.rest(grant, "refused", "1004", 100, 100)
    assert pacing.create(10).key_states()[0].rest is None


# Workers


def test_tickets_of_a_worker_that_has_died_are_dropped(pacing: Pacing) -> None:
    store, other = pacing.create(1), pacing.join(1)
    fill(store, 1)
    dead = [waits(store, ticket(worker="dead")) for _ in range(5)]
    pacing.silence("dead", LEASE_SECONDS + 1)
    alive = waits(other, ticket("bob", worker="alive"))
    assert other.waiting() == 1
    assert served(pacing.impatient(1), 1, "alive") == [alive.id]
    with pytest.raises(WorkerForgotten):
        store.take("dead")
    assert not store.leave(dead[0].id)


def test_a_worker_that_asks_keeps_its_tickets(pacing: Pacing) -> None:
    store, other = pacing.create(1), pacing.join(1)
    fill(store, 1)
    waits(store, ticket(worker="one"))
    for _ in range(3):
        pacing.silence("one", LEASE_SECONDS / 2)
        assert store.take("one")[0] == []
        with pytest.raises(WorkerForgotten):
            other.take(uuid.uuid4().hex)
    assert store.waiting() == 1


def test_a_worker_that_was_silent_too_long_is_forgotten_even_by_itself(pacing: Pacing) -> None:
    """Its tickets may be in another store: it has to request them again."""
    store = pacing.create(1)
    fill(store, 1)
    call = waits(store, ticket(worker="one"))
    pacing.silence("one", LEASE_SECONDS + 1)
    with pytest.raises(WorkerForgotten):
        store.take("one")
    assert store.waiting() == 0
    assert store.request(call, MANY)


# Several processes


@pytest.mark.parametrize("rates", [(5, 3)])
def test_processes_together_never_exceed_a_rate_in_any_window(pacing: Pacing, rates: tuple[int, ...]) -> None:
    pacing.window = 0.6
    pacing.create(*rates)
    starts = defaultdict(list)
    for line in at_once(pacing, "hammer", 2, str(5 * sum(rates) // 2), *map(str, rates)):
        for fingerprint, at in json.loads(line):
            starts[fingerprint].append(at)
    for number, rate in enumerate(rates):
        times = sorted(starts[f"key-{number}"])
        waits = [beyond - first for first, beyond in zip(times, times[rate:], strict=False)]
        assert min(waits) >= pacing.window
        assert min(waits) < 1.5 * pacing.window  # nor is a turn kept back: a busy machine delays some, not all
        assert all(later >= earlier for earlier, later in pairwise(times))


def at_once(pacing: Pacing, command: str, count: int, *arguments: str) -> Sequence[str]:
    """Run `tests.pacing.processes` several times at once; what each has printed."""
    started = [start(pacing, command, *arguments) for _ in range(count)]
    return [process.communicate(timeout=60)[0] for process in started]


def start(pacing: Pacing, command: str, *arguments: str) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "tests.pacing.processes", command, pacing.kind, pacing.address, str(pacing.window)]
    return subprocess.Popen([*line, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("pacing", ["sqlite"], indirect=True)
def test_a_first_step_waits_for_a_process_that_opens_the_file(pacing: Pacing) -> None:
    """As when several workers have their first calls at the same time: the first one to open the file locks it."""
    pacing.create(1)
    with closing(sqlite3.connect(pacing.address, isolation_level=None, check_same_thread=False)) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(1) as pool:
            found = pool.submit(granted, pacing.join(), ticket())
            time.sleep(0.1)  # it waits, or has failed
            other.close()
            found.result()


@pytest.mark.parametrize("pacing", ["sqlite"], indirect=True)
def test_a_process_killed_in_the_middle_of_a_step_stops_nobody(pacing: Pacing) -> None:
    store = pacing.create(2)
    with start(pacing, "hold", "2") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "holds\n"
        process.kill()
        process.wait()
    began = time.monotonic()
    assert state(store).started == 0  # the half step is undone
    fill(store, 2)
    assert time.monotonic() - began < 2
