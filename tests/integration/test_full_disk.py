"""A disk for answers that is full: a caller that waits gets its images, and nobody pays for images that are lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select

from app.storage.task_tables import TASKS
from tests.integration.billing_gateway import PRICE, BillingGateway, billing_gateway
from tests.integration.raw_http import MODEL, Caller, Reply, ask, post
from tests.support.databases import ScratchDatabase
from tests.support.fake_minimax import FakeMinimax, respond, start_fake_minimax, when
from tests.support.kept_images import LARGE_JPEG, drawing
from tests.support.waiting import wait_until

BALANCE = 10 * PRICE


@dataclass(frozen=True)
class Disk:
    """The folders of answers: of their bodies, and of the journal."""

    bodies: Path
    journal: Path

    def fill(self) -> None:
        """As a full disk does: no body can be written, neither to its folder nor to the journal."""
        self.bodies.rename(self.bodies.with_name("elsewhere"))
        self.journal.mkdir(parents=True, exist_ok=True)
        (self.journal / "answers").write_text("no folder")

    def clear(self) -> None:
        self.bodies.with_name("elsewhere").rename(self.bodies)
        (self.journal / "answers").unlink()


@dataclass(frozen=True)
class Setting:
    """MiniMax responds while `is_drawn` is set."""

    billed: BillingGateway
    upstream: FakeMinimax
    disk: Disk
    is_drawn: threading.Event

    def request(self, prompt: str, *lines: str) -> bytes:
        document = {"model": MODEL, "prompt": prompt, "response_format": "b64_json"}
        return post(document, *lines, key=self.billed.secret)

    def ask(self, prompt: str, *lines: str) -> Reply:
        return ask(self.billed.gateway.url, self.request(prompt, *lines))

    def leave(self, prompt: str, *lines: str) -> None:
        """Call, and hang up while MiniMax draws. Returns when the call is over."""
        calls, entries = len(self.upstream.received), len(self.billed.kinds())
        self.is_drawn.clear()
        with Caller(self.billed.gateway.url) as caller:
            caller.send(self.request(prompt, *lines))
            wait_until(lambda: len(self.upstream.received) > calls, "the call was sent")
        wait_until(lambda: self._attendants() == [None], "the caller's leaving noted")
        self.is_drawn.set()
        wait_until(lambda: len(self.billed.kinds()) == entries + 2, "the reservation was closed")

    def _attendants(self) -> list[str | None]:
        """The connections that wait for running calls."""
        chosen = select(TASKS.c.attendant).where(TASKS.c.state == "in_progress")
        with self.billed.storage.database.connection(read_only=True) as connection:
            return list(connection.scalars(chosen))


@pytest.fixture
def open_setting(tmp_path: Path, test_db: ScratchDatabase) -> Iterator[Callable[..., Setting]]:
    with ExitStack() as stack:

        def start(**variables: str) -> Setting:
            upstream = stack.enter_context(start_fake_minimax())
            is_drawn = threading.Event()
            is_drawn.set()
            upstream.script = when(is_drawn, respond(drawing(LARGE_JPEG)))
            state = tmp_path / "state"
            chosen = {"AMUX_STATE_FOLDER": str(state), "WEB_CONCURRENCY": "1"} | variables
            billed = stack.enter_context(
                billing_gateway(test_db, tmp_path, upstream.url, balance=BALANCE, limits=None, command=None, **chosen)
            )
            disk = Disk(next(state.glob("answers-*"), state / "answers"), tmp_path / "journal")
            return Setting(billed, upstream, disk, is_drawn)

        yield start


pytestmark = pytest.mark.parametrize("test_db", ["sqlite"], indirect=True)


def test_a_full_disk(open_setting: Callable[..., Setting]) -> None:
    setting = open_setting()
    billed, key = setting.billed, "Idempotency-Key: k"
    setting.disk.fill()

    # A caller that waits has its image, and pays for it.
    assert setting.ask("attended", key).status == 200
    assert (billed.balance, billed.kinds()) == (BALANCE - PRICE, ["reserve", "settle"])
    again = setting.ask("attended", key)
    assert (again.status, again.error["code"], len(setting.upstream.received)) == (502, "outcome_unknown", 1)

    # Nobody has the image of a caller that has left, and nobody pays for it.
    setting.leave("unattended", "Idempotency-Key: l")
    assert (billed.balance, billed.kinds()[2:]) == (BALANCE - PRICE, ["reserve", "unknown"])

    # There is room again: no restart is needed.
    setting.disk.clear()
    first, again = (setting.ask("later", "Idempotency-Key: m") for _ in range(2))
    assert (again.status, again.body) == (200, first.body)
    setting.leave("left later", "Idempotency-Key: n")
    assert setting.ask("left later", "Idempotency-Key: n").status == 200
    assert len(setting.upstream.received) == 4
    assert billed.balance == BALANCE - 3 * PRICE

    # The image of this key was drawn, so that it is never drawn again.
    lost = setting.ask("unattended", "Idempotency-Key: l")
    assert (lost.status, len(setting.upstream.received)) == (503, 4), lost.body
    assert lost.error["code"] == "answer_not_stored"


def test_a_body_that_is_lost_is_gone_and_not_drawn_again(open_setting: Callable[..., Setting]) -> None:
    setting, key = open_setting(), "Idempotency-Key: k"
    assert setting.ask("lost", key).status == 200
    for body in (path for path in setting.disk.bodies.rglob("*") if path.is_file()):
        body.unlink()
    reply = setting.ask("lost", key)
    assert (reply.status, reply.error["code"], len(setting.upstream.received)) == (410, "answer_expired", 1)


def test_an_answer_larger_than_all_answers_may_be(open_setting: Callable[..., Setting]) -> None:
    setting = open_setting(AMUX_ANSWER_BYTES="100000")
    billed = setting.billed
    assert setting.ask("attended", "Idempotency-Key: k").status == 200
    setting.leave("unattended")
    assert (billed.balance, billed.kinds()) == (BALANCE - PRICE, ["reserve", "settle", "reserve", "unknown"])
    again = setting.ask("attended", "Idempotency-Key: k")
    assert (again.status, again.error["code"], len(setting.upstream.received)) == (502, "outcome_unknown", 2)
    assert not (setting.disk.journal / "answers").exists()
