"""Images count as asked for once, with the call that generated them, however its answer was taken (`GET /v1/usage`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from app.storage.tables import UsageRecord
from app.storage.times import now
from tests.integration.answer_beds import Account, Bed, start_bed
from tests.integration.raw_http import MODEL, Caller
from tests.support.prompted_minimax import new_prompt
from tests.support.waiting import wait_until

KEY, KEY_LINE = "one", "Idempotency-Key: one"
FIRST_TRY = "x-stainless-retry-count: 0"
RETRY = "x-stainless-retry-count: 1"
IMAGES = 3


@pytest.fixture(scope="module")
def bed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    with start_bed("sqlite", tmp_path_factory.mktemp("usage"), request) as bed:
        yield bed


def rows(account: Account) -> list[UsageRecord]:
    assert account.storage is not None
    today = now().date()
    return list(account.storage.usage.rows(account.storage.keys.get(account.name).id, today, today))


def check(account: Account, taken: dict[str, int], delivered: int = IMAGES) -> None:
    """The account's rows, and its totals: images of one call, and `taken`."""
    wait_until(lambda: len(rows(account)) == sum(taken.values()), "a row for every request")
    found = rows(account)
    assert Counter(row.taken for row in found) == taken
    assert sum(row.asked for row in found) == IMAGES
    assert sum(row.delivered for row in found) == delivered
    account.check_charged(IMAGES)
    [total] = account.get("/v1/usage").json["data"]
    assert (total["requests"], total["asked"], total["taken"]) == (sum(taken.values()), IMAGES, taken)


def document(prompt: str, **fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "prompt": prompt, "n": IMAGES, **fields}


def test_a_replay(bed: Bed) -> None:
    account, prompt = bed.account(), new_prompt("good")
    for _ in range(3):
        assert account.post(document(prompt), KEY_LINE).status == 200
    check(account, {"connection": 1, "idempotency_key": 2})


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_a_waiting_caller_that_leaves(bed: Bed, stream: bool) -> None:
    account, prompt = bed.account(), new_prompt("good")
    sent = document(prompt, stream=stream, response_format="b64_json")
    with ThreadPoolExecutor(1) as pool, bed.upstream.holding(prompt):
        first = pool.submit(account.post, sent, KEY_LINE)
        wait_until(lambda: bed.upstream.calls(prompt) == 1, "the call at MiniMax")
        with Caller(account.url) as second:
            second.send(account.request(sent, KEY_LINE))
            bed.wait_until_joined(account, 1, KEY)
        bed.wait_until_left(account, KEY)
    assert first.result().status == 200
    check(account, {"stream" if stream else "connection": 1, "nobody": 1})


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_a_retry_that_leaves(bed: Bed, stream: bool) -> None:
    account, prompt = bed.account(), new_prompt("good")
    sent = document(prompt, stream=stream, response_format="b64_json")
    with bed.upstream.holding(prompt):
        for joins, line in ((0, FIRST_TRY), (1, RETRY)):
            with Caller(account.url) as caller:
                caller.send(account.request(sent, line))
                wait_until(lambda: bed.upstream.calls(prompt) == 1, "the call at MiniMax")
                bed.wait_until_joined(account, joins)
            bed.wait_until_left(account)
    check(account, {"nobody": 2})
