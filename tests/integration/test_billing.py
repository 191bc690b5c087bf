"""Every image is charged exactly once, by real workers on a real database, whatever happens to either."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from tests.integration.billing_gateway import PRICE, BillingGateway, billing_gateway
from tests.integration.process_metrics import Metrics
from tests.integration.raw_http import (
    FAST,
    Caller,
    HoldingUpstream,
    ask,
    children,
    head,
    holding_upstream,
    image_url,
)
from tests.integration.test_held_calls import enough_files
from tests.support.databases import ScratchDatabase, ScratchPostgres
from tests.support.waiting import wait_until

CALLS = 1000


def test_concurrent_calls_never_overdraw_a_balance(test_db: ScratchDatabase, tmp_path: Path) -> None:
    with (
        holding_upstream() as upstream,
        billing_gateway(test_db, tmp_path, upstream.url, balance=50 * PRICE, WEB_CONCURRENCY="3") as paid,
        ExitStack() as stack,
    ):
        callers = [stack.enter_context(Caller(paid.gateway.url)) for _ in range(200)]
        for number, caller in enumerate(callers):
            caller.send(paid.drawing(f"image {number}"))
        upstream.wait_for(50)
        upstream.release.set()
        replies = [caller.reply() for caller in callers]
        delivered = [reply for reply in replies if reply.status == 200]
        refused = [reply for reply in replies if reply.status != 200]
        assert (len(delivered), len(refused)) == (50, 150)
        assert all(reply.headers["x-amux-charged"] == str(PRICE) for reply in delivered)
        for reply in refused:
            assert (reply.status, reply.error["code"]) == (429, "insufficient_balance")
            assert reply.headers["x-should-retry"] == "false"
            assert reply.headers["x-amux-charged"] == "0"
            assert f"costs {PRICE}" in reply.error["message"]
        assert len(upstream.calls) == 50
        assert paid.balance == 0
        assert sorted(paid.kinds()) == ["reserve"] * 50 + ["settle"] * 50
        assert paid.storage.ledger.check() == []
        wait_until(lambda: len(paid.usage()) == 200, "a row for every call")
        assert sum(row.charged for row in paid.usage()) == 50 * PRICE


def test_calls_in_flight_hold_no_database_connection(test_db: ScratchDatabase, tmp_path: Path) -> None:
    """A worker's pool has five connections."""
    with (
        holding_upstream() as upstream,
        billing_gateway(test_db, tmp_path, upstream.url, balance=2 * CALLS * PRICE) as paid,
        enough_files(3 * CALLS),
        ExitStack() as stack,
    ):
        callers = [stack.enter_context(Caller(paid.gateway.url)) for _ in range(CALLS)]
        for number, caller in enumerate(callers):
            caller.send(paid.drawing(f"image {number}"))
        upstream.wait_for(CALLS)

        assert paid.balance == CALLS * PRICE
        if isinstance(test_db, ScratchPostgres):
            # The supervisor writes the calls in short transactions. A call that held a connection would hold it on.
            wait_until(lambda: states_of_connections(test_db) <= {"idle"}, "no connection in use")
        with Caller(paid.gateway.url) as another:
            assert another.send(paid.drawing(FAST)).reply().status == 200
        usage = head("GET", "/v1/usage", key=paid.secret)
        assert ask(paid.gateway.url, usage, "GET").json["balance"] == (CALLS - 1) * PRICE

        upstream.release.set()
        for number, caller in enumerate(callers):
            assert caller.reply().json["data"] == [{"url": image_url(f"image {number}")}]
        wait_until(lambda: paid.kinds().count("settle") == CALLS + 1, "all settled")
        assert paid.balance == (CALLS - 1) * PRICE
        assert paid.storage.ledger.check() == []


def states_of_connections(test_db: ScratchPostgres) -> set[str]:
    """The states of the gateway's database connections."""
    with psycopg.connect(test_db.url) as connection:
        rows = connection.execute(
            "SELECT state FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchall()
    assert 0 < len(rows) <= 3 * 5  # pools of two workers and of this test
    return {state for (state,) in rows}


def test_a_caller_that_disconnects_pays_for_delivered_images(test_db: ScratchDatabase, tmp_path: Path) -> None:
    with (
        holding_upstream() as upstream,
        billing_gateway(test_db, tmp_path, upstream.url, balance=3 * PRICE) as paid,
    ):
        with Caller(paid.gateway.url) as caller:
            caller.send(paid.drawing("left alone", n=3))
            upstream.wait_for(1)
            assert paid.balance == 0
        upstream.release.set()
        wait_until(lambda: paid.kinds() == ["reserve", "settle"], "it is settled")
        assert paid.balance == 2 * PRICE  # one came of three
        assert paid.storage.ledger.check() == []


def five_held(stack: ExitStack, paid: BillingGateway, upstream: HoldingUpstream) -> list[Caller]:
    """Callers with a call in flight, each with its number in the prompt."""
    callers = [stack.enter_context(Caller(paid.gateway.url)) for _ in range(5)]
    for number, caller in enumerate(callers):
        caller.send(paid.drawing(f"image {number}"))
    upstream.wait_for(5)
    return callers


def test_no_call_is_sent_while_the_database_is_down(test_db: ScratchDatabase, tmp_path: Path) -> None:
    with (
        holding_upstream() as upstream,
        billing_gateway(test_db, tmp_path, upstream.url, balance=3 * PRICE) as paid,
    ):
        assert ask(paid.gateway.url, paid.drawing(FAST)).status == 200
        with test_db.outage():
            reply = ask(paid.gateway.url, paid.drawing(FAST))
            assert (reply.status, reply.error["code"]) == (503, "storage_unavailable")
            assert reply.headers["x-should-retry"] == "true"
            assert int(reply.headers["retry-after"]) > 0
        assert upstream.arrived == [FAST]
        # After one failed wait, other calls fail fast for a second.
        wait_until(lambda: ask(paid.gateway.url, paid.drawing(FAST)).status == 200, "the gateway draws again")
        assert paid.balance == PRICE
        assert paid.kinds() == ["reserve", "settle"] * 2
        assert paid.storage.ledger.check() == []


def test_images_are_delivered_when_the_database_goes_down_during_the_call(
    test_db: ScratchDatabase, tmp_path: Path
) -> None:
    """They are charged once the database is back, exactly once, and the usage row is written."""
    with (
        holding_upstream() as upstream,
        billing_gateway(test_db, tmp_path, upstream.url, balance=9 * PRICE) as paid,
        ExitStack() as stack,
    ):
        callers = five_held(stack, paid, upstream)

        def figure(name: str) -> float:
            return Metrics(paid.gateway.url)[name]

        with test_db.outage():
            upstream.release.set()
            for number, caller in enumerate(callers):
                reply = caller.reply()
                assert reply.json["data"] == [{"url": image_url(f"image {number}")}]
                assert reply.headers["x-amux-charged"] == str(PRICE)
                assert "x-amux-balance" not in reply.headers
            wait_until(lambda: figure("amux_journal_pieces") == 10, "five charges and five rows are counted")
            assert figure("amux_database_gone") > 0
        wait_until(lambda: len(paid.usage()) == 5, "the workers bring in the journal")
        wait_until(lambda: paid.kinds().count("settle") == 5, "the workers bring in the journal")
        wait_until(lambda: not any((tmp_path / "journal").iterdir()), "nothing is left in it")
        wait_until(lambda: figure("amux_journal_pieces") == figure("amux_database_gone") == 0, "and all is well again")
        assert sorted(paid.kinds()) == ["reserve"] * 5 + ["settle"] * 5
        assert paid.balance == 4 * PRICE
        assert paid.storage.ledger.check() == []


@pytest.mark.parametrize("test_db", ["postgresql"], indirect=True)
def test_a_database_that_does_not_respond_is_not_waited_for(test_db: ScratchPostgres, tmp_path: Path) -> None:
    """The server is suspended, while the kernel still accepts its connections and data."""
    with (
        holding_upstream() as upstream,
        billing_gateway(test_db, tmp_path, upstream.url, balance=9 * PRICE, WEB_CONCURRENCY="1") as paid,
    ):
        assert ask(paid.gateway.url, paid.drawing(FAST)).status == 200
        with Caller(paid.gateway.url) as caller:
            caller.send(paid.drawing("image"))
            upstream.wait_for(2)
            test_db.server.signal(signal.SIGSTOP)
            try:
                upstream.release.set()
                assert caller.reply().json["data"] == [{"url": image_url("image")}]
                assert ask(paid.gateway.url, paid.drawing("never sent")).status == 503
            finally:
                test_db.server.signal(signal.SIGCONT)
        wait_until(lambda: paid.kinds().count("settle") == 2, "it is settled when the database goes on")
        wait_until(lambda: paid.storage.ledger.open_owners() == [], "nothing stays reserved")
        assert "never sent" not in upstream.arrived
        assert paid.balance == 7 * PRICE
        assert paid.storage.ledger.check() == []


def test_reservations_of_a_killed_worker_are_swept(test_db: ScratchDatabase, tmp_path: Path) -> None:
    """The outcome of its calls is unknown; they are recorded for the operator and cost the caller nothing."""
    with (
        holding_upstream() as upstream,
        billing_gateway(test_db, tmp_path, upstream.url, balance=5 * PRICE) as paid,
        ExitStack() as stack,
    ):
        five_held(stack, paid, upstream)
        assert paid.balance == 0
        for worker in children(paid.gateway.process.pid):
            os.kill(worker, signal.SIGKILL)
        wait_until(lambda: paid.kinds().count("unknown") == 5, "the next workers sweep")
        assert Metrics(paid.gateway.url)["amux_unknown_outcomes_total"] == 5
        assert paid.balance == 5 * PRICE
        assert sorted(paid.kinds()) == ["reserve"] * 5 + ["unknown"] * 5
        assert paid.storage.ledger.check() == []
