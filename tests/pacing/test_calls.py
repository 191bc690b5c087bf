"""Which key a call is sent with, how often, and what the caller sees: the whole app in front of a fake MiniMax."""

from __future__ import annotations

import logging
import socket
from collections import Counter
from collections.abc import Callable
from itertools import product

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.accounts.api_key import fingerprint
from tests.conftest import MakeClient
from tests.support.fake_minimax import FakeMinimax, Script, error_response, half, raw, reset, respond, success

GENERATIONS = "/v1/images/generations"
ONE, TWO, THREE = "sk-number-one", "sk-number-two", "sk-number-three"
RATE_CODES, ACCOUNT_CODES, REFUSED_CODES = (1002, 1039, 1041, 2045), (1008, 1028, 1030, 2056), (1004, 2049)

# What MiniMax says of a key, the caller's status, code and x-should-retry once no other key is left, and why it rests.
Fault = tuple[Script, int, str, bool, str]
FAULTS: dict[str, Fault] = {
    **{str(code): (respond(error_response(code)), 429, str(code), True, "rate") for code in RATE_CODES},
    **{str(code): (respond(error_response(code)), 429, str(code), False, "account") for code in ACCOUNT_CODES},
    **{str(code): (respond(error_response(code)), 502, str(code), False, "refused") for code in REFUSED_CODES},
    "HTTP 401": (respond(b"", status=401), 502, "upstream_unauthorized", False, "refused"),
    "HTTP 401, an error": (
        respond({"error": {"message": "no"}}, status=401),
        502,
        "upstream_unauthorized",
        False,
        "refused",
    ),
    "HTTP 402": (
        respond({"error": {"message": "pay"}}, status=402),
        429,
        "upstream_payment_required",
        False,
        "account",
    ),
    "HTTP 429": (
        respond({"error": {"message": "slow"}}, status=429),
        429,
        "upstream_too_many_requests",
        True,
        "rate",
    ),
}
# What says nothing of the key, or may have drawn: never sent again.
OTHERS: dict[str, tuple[Script, int, str]] = {
    "reset": (reset, 502, "upstream_interrupted"),
    "half a response": (half(success()), 502, "upstream_interrupted"),
    "closed": (raw(b"", then_close=True), 502, "upstream_interrupted"),
    "deadline": (respond(success(), after=10), 502, "upstream_deadline"),
    "not JSON": (respond(b"<html>"), 502, "upstream_invalid_answer"),
    "HTTP 500": (respond({"error": {"message": "oops"}}, status=500), 502, "upstream_server_error"),
    "HTTP 403": (respond({"error": {"message": "no"}}, status=403), 403, "upstream_forbidden"),
    **{str(code): (respond(error_response(code)), status, str(code)) for code, status in ((1000, 500), (1001, 503))},
    **{str(code): (respond(error_response(code)), status, str(code)) for code, status in ((1026, 403), (2013, 400))},
    **{str(code): (respond(error_response(code)), status, str(code)) for code, status in ((1033, 503), (7777, 502))},
}


class Keys:
    """Gives each upstream key a script of its own."""

    def __init__(self, upstream: FakeMinimax) -> None:
        self._upstream = upstream
        self.scripts: dict[str, Script] = {}
        upstream.script = self._run

    def _run(self, connection: socket.socket) -> None:
        self.scripts.get(self.used[-1], respond(success()))(connection)

    @property
    def used(self) -> list[str]:
        """The keys of the calls that MiniMax has received, in order."""
        return [request.headers["authorization"].removeprefix("Bearer ") for request in self._upstream.received]


@pytest.fixture
def keys(upstream: FakeMinimax) -> Keys:
    return Keys(upstream)


@pytest.fixture
def make_pool(make_client: MakeClient) -> Callable[..., FlaskClient]:
    """A test client of a gateway with these upstream keys."""

    def make(*secrets: str, rate: int = 10, **chosen: object) -> FlaskClient:
        pool = {"minimax_api_key": "", "minimax_api_keys": tuple((secret, rate) for secret in secrets)}
        return make_client(**(pool | {"rest_keys": True, "queue_seconds": 0.0} | chosen))

    return make


MakePool = Callable[..., FlaskClient]


def draw(client: FlaskClient) -> TestResponse:
    return client.post(GENERATIONS, json={"model": "MiniMax-Image-01", "prompt": "a cat"}, buffered=True)


def error_code(response: TestResponse) -> str:
    code: str = response.json["error"]["code"]  # type: ignore[index]
    return code


def message(response: TestResponse) -> str:
    text: str = response.json["error"]["message"]  # type: ignore[index]
    return text


def states(client: FlaskClient) -> Counter[str]:
    lines = client.get("/metrics").text.splitlines()
    found = [line.split('"') for line in lines if line.startswith("amux_upstream_keys{")]
    return +Counter({state: int(float(count.strip("} "))) for _, state, count in found})


@pytest.mark.parametrize("name", FAULTS)
def test_no_caller_sees_a_key_fail_while_another_is_healthy(make_pool: MakePool, keys: Keys, name: str) -> None:
    client = make_pool(ONE, TWO)
    assert [draw(client).status_code for _ in range(4)] == [200] * 4
    script, *_, reason = FAULTS[name]
    keys.scripts[ONE] = script
    assert [draw(client).status_code for _ in range(6)] == [200] * 6
    assert Counter(keys.used[4:]) == {ONE: 1, TWO: 6}  # the bad key is tried once, and rests
    assert states(client) == {"healthy": 1, reason: 1}
    assert client.get("/readyz").status_code == 200


@pytest.mark.parametrize("name", FAULTS)
def test_only_when_no_key_is_left_does_the_caller_see_the_error(make_pool: MakePool, keys: Keys, name: str) -> None:
    client = make_pool(ONE, TWO, THREE)
    script, status, code, should_retry, reason = FAULTS[name]
    keys.scripts = dict.fromkeys((ONE, TWO, THREE), script)
    response = draw(client)
    assert (response.status_code, error_code(response)) == (status, code)
    assert response.headers["x-should-retry"] == str(should_retry).lower()
    assert sorted(keys.used) == sorted([ONE, TWO, THREE])  # each key once
    assert states(client) == {reason: 3}
    assert client.get("/readyz").status_code == 200

    again = draw(client)
    assert len(keys.used) == 3  # MiniMax is not asked
    if reason == "rate":
        assert (again.status_code, error_code(again)) == (429, "upstream_busy")
        assert again.headers["x-should-retry"] == "true"
        assert 1 <= int(again.headers["Retry-After"]) <= 60
    else:
        assert (again.status_code, error_code(again)) == (status, code)
        assert again.headers["x-should-retry"] == "false"
        assert message(response).startswith(message(again).removesuffix("."))  # without what MiniMax said then


@pytest.mark.parametrize("name", FAULTS)
def test_with_one_key_the_caller_is_told_at_once(make_pool: MakePool, keys: Keys, name: str) -> None:
    client = make_pool(ONE)
    script, status, code, should_retry, _ = FAULTS[name]
    keys.scripts[ONE] = script
    response = draw(client)
    assert (response.status_code, error_code(response)) == (status, code)
    assert response.headers["x-should-retry"] == str(should_retry).lower()
    assert ("Retry-After" in response.headers) == should_retry
    assert ONE not in response.text


@pytest.mark.parametrize(("name", "probing"), list(product(OTHERS, [False, True])))
def test_a_call_that_may_have_drawn_is_never_sent_to_a_second_key(
    make_pool: MakePool, keys: Keys, monkeypatch: pytest.MonkeyPatch, name: str, probing: bool
) -> None:
    if probing:
        rests = {"rate": (0, 0), "account": (0, 0), "refused": (0, 0)}
        monkeypatch.setattr("app.components.RESTS", rests)
    client = make_pool(ONE, TWO, minimax_timeout_seconds=1.0 if name == "deadline" else 30.0)
    if probing:
        keys.scripts = dict.fromkeys((ONE, TWO), respond(error_response(1008)))
        assert error_code(draw(client)) == "1008"
    sent = len(keys.used)
    script, status, code = OTHERS[name]
    keys.scripts = dict.fromkeys((ONE, TWO), script)
    response = draw(client)
    assert (response.status_code, error_code(response)) == (status, code)
    assert len(keys.used) - sent == 1
    assert states(client)["healthy"] >= 1
    keys.scripts.clear()
    assert [draw(client).status_code for _ in range(4)] == [200] * 4
    assert states(client) == {"healthy": 2}


def test_a_call_that_was_never_sent_is_not_sent_to_a_second_key(make_pool: MakePool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    client = make_pool(ONE, TWO, minimax_base_url=url)
    response = draw(client)
    assert (response.status_code, error_code(response)) == (503, "upstream_unreachable")
    assert states(client) == {"healthy": 2}


@pytest.mark.parametrize(("code", "status"), [(1008, 429), (1004, 502)])
def test_a_client_that_retries_whatever_it_is_told_does_not_reach_minimax(
    make_pool: MakePool, keys: Keys, code: int, status: int
) -> None:
    """The Vercel AI SDK retries each 429 and 5xx. A waiting call would make it worse, so none waits."""
    client = make_pool(ONE, queue_seconds=30.0)
    keys.scripts[ONE] = respond(error_response(code), headers={"Retry-After": "0"})
    responses = [draw(client) for _ in range(20)]
    assert {(response.status_code, error_code(response)) for response in responses} == {(status, str(code))}
    assert len(keys.used) == 1
    keys.scripts.clear()  # paid meanwhile: the rest goes on
    assert error_code(draw(client)) == str(code)
    assert len(keys.used) == 1


def test_an_empty_account_is_tried_by_one_call_after_its_rest(
    make_pool: MakePool, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.components.RESTS", {"rate": (60, 3600), "account": (0.2, 100), "refused": (600, 600)})
    client = make_pool(ONE, queue_seconds=0.0)
    keys.scripts[ONE] = respond(error_response(1008))
    assert error_code(draw(client)) == "1008"
    while len(keys.used) < 2:  # the verdict, until the rest is over
        assert error_code(draw(client)) == "1008"
    keys.scripts.clear()
    while (response := draw(client)).status_code != 200:
        assert error_code(response) == "1008"
    assert len(keys.used) == 3
    assert states(client) == {"healthy": 1}


def test_no_key_rests_if_the_operator_does_not_want_it(make_pool: MakePool, keys: Keys) -> None:
    client = make_pool(ONE, TWO, rest_keys=False)
    keys.scripts = dict.fromkeys((ONE, TWO), respond(error_response(1008)))
    for _ in range(3):
        assert error_code(draw(client)) == "1008"
    assert Counter(keys.used) == {ONE: 3, TWO: 3}
    assert states(client) == {"healthy": 2}


def test_a_rate_limit_rests_until_the_retry_after_of_minimax(make_pool: MakePool, keys: Keys) -> None:
    client = make_pool(ONE, queue_seconds=0.0)
    keys.scripts[ONE] = respond(error_response(1002), headers={"Retry-After": "37"})
    response = draw(client)
    assert (error_code(response), response.headers["Retry-After"]) == ("1002", "37")
    response = draw(client)
    assert error_code(response) == "upstream_busy"
    assert 36 <= int(response.headers["Retry-After"]) <= 37


def test_a_call_above_the_rate_is_told_when_a_turn_is_likely(make_pool: MakePool, keys: Keys) -> None:
    client = make_pool(ONE, TWO, rate=2, queue_seconds=30.0)
    assert [draw(client).status_code for _ in range(4)] == [200] * 4
    assert Counter(keys.used) == {ONE: 2, TWO: 2}
    response = draw(client)  # at once: no turn comes in 30 seconds
    assert (response.status_code, error_code(response)) == (429, "upstream_busy")
    assert response.headers["x-should-retry"] == "true"
    assert 55 <= int(response.headers["Retry-After"]) <= 60
    assert len(keys.used) == 4


def test_the_queue_is_bounded(make_pool: MakePool) -> None:
    client = make_pool(ONE, rate=1, queue_seconds=3600.0, max_queued=0)
    assert draw(client).status_code == 200
    response = draw(client)
    assert (response.status_code, error_code(response)) == (429, "upstream_busy")
    assert 'amux_queue_rejected_total{reason="queue_full"}' in client.get("/metrics").text


def test_keys_have_rates_of_their_own(make_pool: MakePool, keys: Keys) -> None:
    client = make_pool(minimax_api_keys=((ONE, 1), (TWO, None), (THREE, 0)), minimax_requests_per_minute=3)
    assert [draw(client).status_code for _ in range(12)] == [200] * 12
    used = Counter(keys.used)
    assert used[ONE] <= 1
    assert used[TWO] <= 3
    assert used[THREE] >= 8


@pytest.mark.parametrize("name", ["1002", "1008", "1004", "HTTP 401"])
def test_no_key_is_in_a_response_or_a_log_line(
    make_pool: MakePool, keys: Keys, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    caplog.set_level(logging.DEBUG)
    client = make_pool(ONE, TWO)
    keys.scripts = dict.fromkeys((ONE, TWO), FAULTS[name][0])
    shown = [draw(client).text, draw(client).text, client.get("/metrics").text]
    shown += [f"{record.getMessage()} {vars(record)}" for record in caplog.records]
    assert not any(secret in text for secret in (ONE, TWO) for text in shown)
    lines = [vars(record) for record in caplog.records if record.getMessage() == "Upstream key rests"]
    assert {line["upstream_key"] for line in lines} == {fingerprint(ONE), fingerprint(TWO)}
