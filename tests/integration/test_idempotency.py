"""`Idempotency-Key`: the same key and request get the same answer, drawn and charged once (contract 7.1)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.instances import Instance
from tests.integration.answer_beds import ANOTHER_KEY, STORES, Account, Bed, start_bed
from tests.integration.process_metrics import MB, Growth, processes_of
from tests.integration.raw_http import EDITS, GENERATIONS, MODEL, Caller, Reply, ask
from tests.support import processes
from tests.support.images import JPEG, PNG, data_url
from tests.support.processes import API_KEY, free_port
from tests.support.prompted_minimax import LARGE_BYTES, new_prompt, start_prompted_minimax
from tests.support.waiting import wait_until

REPLAYED = "idempotent-replayed"

# MiniMax's answers that are kept: the status of the reply, and the images that are charged.
KEPT = {
    "good": (200, 1),
    "2013": (400, 0),
    "1026": (403, 0),
    "1027": (403, 0),
    "withheld": (403, 0),
    # An image may have been drawn and billed, so that this key never draws another.
    "reset": (502, 0),
    "half": (502, 0),
    "nonsense": (502, 0),
    "server_error": (502, 0),
}
# Nothing was drawn, and trying again may work.
NOT_KEPT = {"1002": 429, "1004": 502, "1008": 429, "1001": 503, "1033": 503, "1000": 500, "2061": 403}


@pytest.fixture(scope="session", params=STORES)
def bed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    folder = tmp_path_factory.mktemp("idempotency")
    with start_bed(request.param, folder, request) as bed:
        yield bed


def new_key() -> str:
    return uuid.uuid4().hex


def line(key: str) -> str:
    return f"Idempotency-Key: {key}"


def check_replay(reply: Reply, first: Reply) -> None:
    """`reply` is the answer that `first` was, byte for byte, and costs nothing."""
    assert (reply.status, reply.body) == (first.status, first.body)
    assert REPLAYED not in first.headers
    assert reply.headers[REPLAYED] == "true"
    for name in ("content-type", "x-should-retry"):
        assert reply.headers.get(name) == first.headers.get(name)
    assert reply.headers.get("x-amux-charged", "0") == "0"


def check_new(reply: Reply, status: int = 200) -> None:
    assert reply.status == status, reply.body
    assert REPLAYED not in reply.headers


# What is kept


@pytest.mark.parametrize("kind", KEPT)
def test_an_answer_is_kept(bed: Bed, kind: str) -> None:
    status, charged = KEPT[kind]
    account, prompt, key = bed.account(), new_prompt(kind), new_key()
    first = account.generate(prompt, line(key))
    check_new(first, status)
    for _ in range(3):  # the workers share their answers
        check_replay(account.generate(prompt, line(key)), first)
    assert bed.upstream.calls(prompt) == 1
    account.check_charged(charged)


@pytest.mark.parametrize("store", STORES)
def test_a_deadline_is_kept(store: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with start_bed(store, tmp_path, request, MINIMAX_TIMEOUT_SECONDS="1") as bed:
        account, prompt, key = bed.account(), new_prompt("good"), new_key()
        with bed.upstream.holding(prompt):
            first = account.generate(prompt, line(key))
            assert (first.status, first.error["code"]) == (502, "upstream_deadline")
            check_replay(account.generate(prompt, line(key)), first)
        assert bed.upstream.calls(prompt) == 1
        account.check_charged(0)


@pytest.mark.parametrize("kind", NOT_KEPT)
def test_an_error_after_which_nothing_was_drawn_is_not_kept(bed: Bed, kind: str) -> None:
    account, prompt, key = bed.account(), new_prompt(f"{kind}-then-good"), new_key()
    check_new(account.generate(prompt, line(key)), NOT_KEPT[kind])
    second = account.generate(prompt, line(key))
    check_new(second)
    check_replay(account.generate(prompt, line(key)), second)
    assert bed.upstream.calls(prompt) == 2
    account.check_charged(1)


def test_an_unreachable_minimax_is_not_kept(tmp_path: Path) -> None:
    port = free_port()
    prompt, key = new_prompt("good"), new_key()
    with processes.gateway(tmp_path, f"http://127.0.0.1:{port}") as gateway:
        account = Account(gateway.url, API_KEY)
        reply = account.generate(prompt, line(key))
        check_new(reply, 503)
        assert reply.error["code"] == "upstream_unreachable"
        with start_prompted_minimax(port) as upstream:
            second = account.generate(prompt, line(key))
            check_new(second)
            check_replay(account.generate(prompt, line(key)), second)
            assert upstream.calls(prompt) == 1


def test_an_invalid_request_is_not_kept(bed: Bed) -> None:
    """Its key is free for the corrected request, which is another one."""
    account, prompt, key = bed.account(), new_prompt("good"), new_key()
    for _ in range(2):
        check_new(account.generate(prompt, line(key), n=10), 400)
    check_new(account.generate(prompt, line(key), n=1))
    assert bed.upstream.calls(prompt) == 1


def test_a_balance_that_is_used_up_is_not_kept(bed: Bed) -> None:
    if bed.storage is None:
        return  # without a database there is no balance
    account, prompt, key = bed.account(balance=1), new_prompt("good"), new_key()
    reply = account.generate(prompt, line(key))
    check_new(reply, 429)
    assert reply.error["code"] == "insufficient_balance"
    bed.storage.ledger.credit(bed.storage.keys.get(account.name).id, 1000)
    check_new(account.generate(prompt, line(key)))
    assert bed.upstream.calls(prompt) == 1


# Whose key, and for which request

SAME: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "order of the fields": ({"n": 2, "seed": 7}, {"seed": 7, "n": 2}),
    "alias of a field": ({"watermark": True}, {"aigc_watermark": True}),
    "alias of the model": ({"model": MODEL}, {"model": "image-01"}),
    "default and absent": ({}, {"n": 1, "response_format": "url", "size": "auto", "seed": None}),
    "base64": ({"response_format": "b64_json"}, {"response_format": "base64"}),
    "size and its ratio": ({"size": "1792x1024"}, {"aspect_ratio": "16:9"}),
    "extra_body": ({"seed": 7}, {"extra_body": {"seed": 7}}),
    "nested style": (
        {"style_type": "水彩", "style_weight": 0.5},
        {"style": {"style_weight": 0.5, "style_type": "水彩"}},
    ),
    "ignored field": ({}, {"user": "somebody"}),
}
DIFFERENT: dict[str, dict[str, Any]] = {
    "n": {"n": 2},
    "seed": {"seed": 7},
    "ratio": {"aspect_ratio": "16:9"},
    "format": {"response_format": "b64_json"},
    "false is not absent": {"prompt_optimizer": False},
    "reference": {"image": data_url(JPEG)},
}


@pytest.mark.parametrize("name", SAME)
def test_another_spelling_of_the_request_is_a_replay(bed: Bed, name: str) -> None:
    account, prompt, key = bed.account(), new_prompt("good"), new_key()
    one, other = SAME[name]
    first = account.generate(prompt, line(key), **one)
    check_new(first)
    check_replay(account.post({**other, "prompt": prompt, "model": other.get("model", MODEL)}, line(key)), first)
    assert bed.upstream.calls(prompt) == 1


def check_reused(reply: Reply) -> None:
    assert (reply.status, reply.error["code"]) == (422, "idempotency_key_reused")
    assert reply.headers["x-should-retry"] == "false"
    assert REPLAYED not in reply.headers


@pytest.mark.parametrize("name", DIFFERENT)
def test_a_key_with_another_request_is_rejected(bed: Bed, name: str) -> None:
    account, prompt, key = bed.account(), new_prompt("good"), new_key()
    first = account.generate(prompt, line(key))
    check_new(first)
    check_reused(account.generate(prompt, line(key), **DIFFERENT[name]))
    check_replay(account.generate(prompt, line(key)), first)
    assert bed.upstream.calls(prompt) == 1
    account.check_charged(1)


def test_a_key_with_another_endpoint_is_rejected(bed: Bed) -> None:
    account, prompt, key = bed.account(), new_prompt("good"), new_key()
    document = {"model": MODEL, "prompt": prompt, "image": data_url(JPEG)}
    check_new(account.post(document, line(key), path=GENERATIONS))
    check_reused(account.post(document, line(key), path=EDITS))
    assert bed.upstream.calls(prompt) == 1


def test_a_reference_image_is_compared_by_its_bytes(bed: Bed) -> None:
    """In whatever encoding it is sent."""
    account, prompt, key = bed.account(), new_prompt("good"), new_key()
    first = account.edit(prompt, line(key), image=JPEG)
    check_new(first)
    check_replay(account.edit(prompt, line(key), image=JPEG), first)
    as_json = {"model": MODEL, "prompt": prompt, "images": [{"image_url": data_url(JPEG)}]}
    check_replay(account.post(as_json, line(key), path=EDITS), first)
    check_reused(account.edit(prompt, line(key), image=PNG))
    check_reused(account.edit(prompt, line(key), image=JPEG + b"\0"))
    assert bed.upstream.calls(prompt) == 1


def test_a_key_of_another_caller_is_another_key(bed: Bed) -> None:
    account, another = bed.account(), bed.account(ANOTHER_KEY)
    prompt, key = new_prompt("good"), new_key()
    first, second = account.generate(prompt, line(key)), another.generate(prompt, line(key))
    check_new(first)
    check_new(second)
    assert first.body != second.body
    check_replay(another.generate(prompt, line(key)), second)
    assert bed.upstream.calls(prompt) == 2
    for each in (account, another):
        each.check_charged(1)


# While the first call runs


def generate_at_once(bed: Bed, account: Account, prompt: str, key: str, count: int) -> list[Reply]:
    """The replies to that many callers. MiniMax responds to the first once all others wait for its answer."""
    with ThreadPoolExecutor(count) as pool, bed.upstream.holding(prompt):
        calls = [pool.submit(account.generate, prompt, line(key)) for _ in range(count)]
        bed.wait_until_joined(account, count - 1, key)
    return [call.result() for call in calls]


def test_calls_with_the_key_of_a_running_one_wait_for_its_answer(bed: Bed) -> None:
    account, prompt, key = bed.account(), new_prompt("good"), new_key()
    replies = generate_at_once(bed, account, prompt, key, 6)
    assert {(reply.status, reply.body) for reply in replies} == {(200, replies[0].body)}
    assert sum(REPLAYED not in reply.headers for reply in replies) == 1
    assert bed.upstream.calls(prompt) == 1
    account.check_charged(1)


def test_a_running_call_rejects_its_key_with_another_request(bed: Bed) -> None:
    account, prompt, key = bed.account(), new_prompt("good"), new_key()
    with Caller(account.url) as first:
        with bed.upstream.holding(prompt):
            first.send(account.request({"model": MODEL, "prompt": prompt}, line(key)))
            wait_until(lambda: bed.upstream.calls(prompt) == 1, "the call at MiniMax")
            check_reused(account.generate(prompt, line(key), seed=7))
        check_new(first.reply())


@pytest.mark.parametrize("when", ["running", "ended"])
def test_the_answer_is_kept_for_a_caller_that_left(bed: Bed, when: str) -> None:
    account, prompt, key = bed.account(), new_prompt("good"), new_key()
    with ThreadPoolExecutor(1) as pool, bed.upstream.holding(prompt):
        with Caller(account.url) as gone:
            gone.send(account.request({"model": MODEL, "prompt": prompt}, line(key)))
            wait_until(lambda: bed.upstream.calls(prompt) == 1, "the call at MiniMax")
        bed.wait_until_left(account, key)
        if when == "running":
            second = pool.submit(account.generate, prompt, line(key))
            bed.wait_until_joined(account, 1, key)
    if when == "ended":
        bed.wait_until_answered(account, key)
    reply = second.result() if when == "running" else account.generate(prompt, line(key))
    assert (reply.status, reply.headers[REPLAYED]) == (200, "true")
    assert bed.upstream.calls(prompt) == 1
    account.check_charged(1)


def test_callers_that_wait_get_an_error_that_is_not_kept(bed: Bed) -> None:
    """They have waited for this call. The next one is a new one."""
    account, prompt, key = bed.account(), new_prompt("1002-then-good"), new_key()
    replies = generate_at_once(bed, account, prompt, key, 3)
    assert [reply.status for reply in replies] == [429] * 3
    assert bed.upstream.calls(prompt) == 1
    check_new(account.generate(prompt, line(key)))


# The key itself

# The second is `param`. gunicorn itself rejects requests with control characters but tabs, as no valid HTTP.
INVALID_KEYS = {
    "empty": (b"", "Idempotency-Key"),
    "too long": (b"k" * 256, "Idempotency-Key"),
    "not ASCII": ("schlüssel".encode(), "Idempotency-Key"),
    "tab": (b"a\tb", "Idempotency-Key"),
    "control character": (b"a\x01b", None),
    "delete": (b"a\x7fb", None),
}
VALID_KEYS = {
    "short": "k",
    "long": "k" * 255,
    "printable": "".join(map(chr, range(0x21, 0x7F))),
    "space": "a b",
}


def with_key(request: bytes, key: bytes) -> bytes:
    """The request with this header's bytes as they are."""
    return request.replace(b"\r\n", b"\r\nIdempotency-Key: " + key + b"\r\n", 1)


@pytest.mark.parametrize("name", INVALID_KEYS)
def test_an_invalid_key_is_rejected(bed: Bed, name: str) -> None:
    account, prompt = bed.account(), new_prompt("good")
    key, param = INVALID_KEYS[name]
    reply = ask(account.url, with_key(account.request({"model": MODEL, "prompt": prompt}), key))
    assert (reply.status, reply.error["param"]) == (400, param)
    assert bed.upstream.calls(prompt) == 0


@pytest.mark.parametrize("name", VALID_KEYS)
def test_a_valid_key_is_accepted(bed: Bed, name: str) -> None:
    # Its end makes it unique without a database, where all tests share one caller.
    key = VALID_KEYS[name] if bed.storage else (VALID_KEYS[name] + new_key())[-255:]
    account, prompt = bed.account(), new_prompt("good")
    first = account.generate(prompt, line(key))
    check_new(first)
    check_replay(account.generate(prompt, line(key)), first)


def test_calls_without_a_key_are_calls_of_their_own(bed: Bed) -> None:
    account, prompt = bed.account(), new_prompt("good")
    first, second = account.generate(prompt), account.generate(prompt)
    check_new(first)
    check_new(second)
    assert first.body != second.body


# How long, how large


def test_a_large_answer_is_replayed_in_constant_memory(bed: Bed) -> None:
    """15 MB of base64, to four callers at once."""
    account, key = bed.account(), new_key()
    fields: dict[str, Any] = {"n": 5, "response_format": "b64_json"}
    warm = [(new_prompt(kind), new_key()) for kind in ("good", "good", "good", "large")]  # starts the threads, too
    for prompt, each in warm * 2:
        assert account.generate(prompt, line(each), **fields).status == 200
    growth = Growth(processes_of(bed.gateway))

    prompt = new_prompt("large")
    first = account.generate(prompt, line(key), **fields)
    check_new(first)
    assert len(first.body) > LARGE_BYTES
    with ThreadPoolExecutor(4) as pool:
        for reply in pool.map(lambda _: account.generate(prompt, line(key), **fields), range(4)):
            check_replay(reply, first)
    assert growth.peak <= 8 * MB  # a single copy has 15
    assert bed.upstream.calls(prompt) == 1
    assert len(json.loads(first.body)["data"]) == 5


def test_an_answer_expires(tmp_path: Path) -> None:
    """After AMUX_ANSWER_HOURS the key is free again."""
    with (
        start_prompted_minimax() as upstream,
        processes.gateway(tmp_path, upstream.url, AMUX_ANSWER_HOURS="0.001") as gateway,
    ):
        account, prompt, key = Account(gateway.url, API_KEY), new_prompt("good"), new_key()
        first = account.generate(prompt, line(key))
        check_new(first)
        check_replay(account.generate(prompt, line(key)), first)
        wait_until(lambda: REPLAYED not in account.generate(prompt, line(key)).headers, "a new call")
        assert upstream.calls(prompt) == 2


def test_answers_are_bounded_in_bytes(tmp_path: Path) -> None:
    """The oldest body goes first. Its call is not made again, because it has been paid for."""
    with (
        start_prompted_minimax() as upstream,
        processes.gateway(tmp_path, upstream.url, AMUX_ANSWER_BYTES=str(5 * LARGE_BYTES // 2)) as gateway,
    ):
        account = Account(gateway.url, API_KEY)
        calls = [(new_prompt("large"), new_key()) for _ in range(3)]

        def again(prompt: str, key: str) -> Reply:
            return account.generate(prompt, line(key), response_format="b64_json")

        for prompt, key in calls:
            check_new(again(prompt, key))
        wait_until(lambda: again(*calls[0]).status != 200, "the oldest answer gone")
        assert again(*calls[-1]).headers[REPLAYED] == "true"
        assert [upstream.calls(prompt) for prompt, _ in calls] == [1, 1, 1]


def test_an_answer_outlives_a_restart(tmp_path: Path) -> None:
    with start_prompted_minimax() as upstream, ExitStack() as stack:
        instance = Instance(stack, tmp_path, upstream.url)
        account, prompt, key = Account(instance.url, API_KEY), new_prompt("good"), new_key()
        first = account.generate(prompt, line(key))
        check_new(first)
        instance.restart()
        check_replay(account.generate(prompt, line(key)), first)
        assert upstream.calls(prompt) == 1


def test_a_call_in_flight_is_finished_for_its_key_when_the_gateway_stops(tmp_path: Path) -> None:
    with start_prompted_minimax() as upstream, ExitStack() as stack:
        instance = Instance(stack, tmp_path, upstream.url)
        account, prompt, key = Account(instance.url, API_KEY), new_prompt("good", 2), new_key()
        with Caller(account.url) as gone:
            gone.send(account.request({"model": MODEL, "prompt": prompt}, line(key)))
            wait_until(lambda: upstream.calls(prompt) == 1, "the call at MiniMax")
        instance.restart()
        reply = account.generate(prompt, line(key))
        assert (reply.status, reply.headers[REPLAYED]) == (200, "true")
        assert upstream.calls(prompt) == 1
