"""`/metrics`: every worker reports the exact counts of all workers."""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.metrics import OTHER, SUCCESS, WAYS
from app.minimax.error_codes import STATUS_CODES, WITHOUT_CODE
from app.model_catalog import MODELS
from app.pacing.key_pool import RESTS
from tests.integration.process_metrics import Metrics, in_flight, stopped, wait_until_idle
from tests.integration.raw_http import (
    EDITS,
    GENERATIONS,
    MODEL,
    Caller,
    Reply,
    ask,
    children,
    edit,
    generation,
    head,
    holding_upstream,
    post,
)
from tests.support import processes
from tests.support.fake_minimax import FakeMinimax, error_response, half, respond, start_fake_minimax, success
from tests.support.processes import Served
from tests.support.waiting import wait_until

WORKERS = 3
GOOD = "MiniMax-Image-01"
LIVE = "MiniMax-Image-01-live"
Labels = tuple[str, ...]

# Script, request, labels (endpoint, model, status), upstream code, images requested, images delivered.
Case = tuple[Callable[..., None], bytes, tuple[str, str, str], str | None, int, int]
MIX: list[Case] = [
    (respond(success()), generation("one"), (GENERATIONS, GOOD, "200"), "0", 1, 1),
    (respond(success(4)), post({"model": MODEL, "prompt": "p", "n": 4}), (GENERATIONS, GOOD, "200"), "0", 4, 4),
    (
        respond(success(2, failed=3)),
        post({"model": MODEL, "prompt": "p", "n": 5}),
        (GENERATIONS, GOOD, "200"),
        "0",
        5,
        2,
    ),
    (respond(success()), edit("a face"), (EDITS, GOOD, "200"), "0", 1, 1),
    (respond(success()), post({"model": LIVE, "prompt": "p"}), (GENERATIONS, LIVE, "200"), "0", 1, 1),
    (respond(error_response(1026)), generation("no"), (GENERATIONS, GOOD, "403"), "1026", 1, 0),
    (respond(error_response(1002)), edit("later"), (EDITS, GOOD, "429"), "1002", 1, 0),
    (respond(error_response(987654)), generation("unheard of"), (GENERATIONS, GOOD, "502"), "other", 1, 0),
    (respond(error_response(-5)), generation("unheard of"), (GENERATIONS, GOOD, "502"), "other", 1, 0),
    (respond(b"<html>"), generation("html"), (GENERATIONS, GOOD, "502"), "upstream_invalid_answer", 1, 0),
    (respond(b"", status=401), generation("key"), (GENERATIONS, GOOD, "502"), "upstream_unauthorized", 1, 0),
    (half(success()), generation("half"), (GENERATIONS, GOOD, "502"), "upstream_interrupted", 1, 0),
    (respond(success()), post({"model": MODEL, "prompt": ""}), (GENERATIONS, "none", "400"), None, 0, 0),
    (respond(success()), post(b"{"), (GENERATIONS, "none", "400"), None, 0, 0),
    (respond(success()), post({}, key="unknown"), (GENERATIONS, "none", "401"), None, 0, 0),
    (respond(success()), post({"model": "secret-model", "prompt": "p"}), (GENERATIONS, "none", "400"), None, 0, 0),
    (respond(success()), post({}, path="/secret/path"), ("none", "none", "404"), None, 0, 0),
    (respond(success()), post({}, path="/v1/models"), ("none", "none", "405"), None, 0, 0),
    (respond(success()), b"secret nonsense\r\n\r\n", ("none", "none", "400"), None, 0, 0),
]
TIMES = 2  # per worker


def by_each_worker(gateway: Served, request: bytes) -> list[Reply]:
    """Send `request` to each worker in turn, while the other workers are suspended."""
    workers = children(gateway.process.pid)
    replies = []
    for worker in workers:
        with stopped(*(other for other in workers if other != worker)):
            replies.append(ask(gateway.url, request))
    return replies


def body_of(request: bytes) -> bytes:
    return request.partition(b"\r\n\r\n")[2]


@pytest.fixture
def gateway(tmp_path: Path, upstream: FakeMinimax) -> Iterator[Served]:
    with processes.gateway(
        tmp_path, upstream.url, WEB_CONCURRENCY=str(WORKERS), AMUX_ENABLED_MODELS=f"{GOOD},{LIVE}"
    ) as served:
        wait_until(lambda: served.log.read_text().count("Booting worker") == WORKERS, "all workers")
        yield served


@pytest.fixture
def upstream() -> Iterator[FakeMinimax]:
    with start_fake_minimax() as server:
        yield server


def test_counters_add_up_over_all_workers(gateway: Served, upstream: FakeMinimax) -> None:
    requests: Counter[Labels] = Counter()
    upstream_calls: Counter[Labels] = Counter()
    asked: Counter[Labels] = Counter()
    delivered: Counter[Labels] = Counter()
    bytes_in = bytes_out = 0
    before = Metrics(gateway.url)
    for script, request, labels, code, n, images in MIX:
        for _ in range(TIMES):
            upstream.script = script
            replies = by_each_worker(gateway, request)
            assert [str(reply.status) for reply in replies] == [labels[2]] * WORKERS
            requests[labels] += WORKERS
            if code is not None:
                upstream_calls[(code,)] += WORKERS
                asked[(labels[1],)] += n * WORKERS
                delivered[(labels[1],)] += images * WORKERS
            bytes_in += WORKERS * len(body_of(request))
            bytes_out += sum(len(reply.body) for reply in replies)
    wait_until_idle(gateway)
    after = Metrics(gateway.url)

    counted = after.since(before, "amux_requests_total", "endpoint", "model", "status")
    looks = counted.pop(("/metrics", "none", "200"))
    assert counted == requests
    assert after.since(before, "amux_upstream_calls_total", "code") == upstream_calls
    assert after.since(before, "amux_pictures_asked_total", "model") == +asked
    assert after.since(before, "amux_pictures_delivered_total", "model") == +delivered
    seconds = after.since(before, "amux_request_seconds_count", "endpoint")
    assert seconds.pop(("/metrics",)) == looks
    by_endpoint: Counter[Labels] = Counter()
    for (endpoint, _, _), count in requests.items():
        by_endpoint[(endpoint,)] += count
    assert seconds == by_endpoint
    assert after["amux_upstream_seconds_count"] - before["amux_upstream_seconds_count"] == upstream_calls.total()
    assert after["amux_request_bytes_total"] - before["amux_request_bytes_total"] == bytes_in
    assert after["amux_calls_in_flight"] == after["amux_refused_full_total"] == 0
    assert len(upstream.received) == upstream_calls.total()


def test_response_bytes_add_up(gateway: Served, upstream: FakeMinimax) -> None:
    """A response to `/metrics` counts from the next one on."""
    upstream.script = respond(success(3))
    before = Metrics(gateway.url)
    replies = [ask(gateway.url, post({"model": MODEL, "prompt": "p", "n": 3})) for _ in range(5)]
    replies += [ask(gateway.url, post(b"{")), ask(gateway.url, head("GET", "/v1/models"), "GET")]
    after = Metrics(gateway.url)
    assert after["amux_response_bytes_total"] - before["amux_response_bytes_total"] == sum(
        len(reply.body) for reply in replies
    ) + len(before.text.encode())


def test_histogram_buckets_reach_the_upstream_deadline(gateway: Served) -> None:
    upstream_buckets = re.findall(r'^amux_upstream_seconds_bucket\{le="([^"]+)"\}', Metrics(gateway.url).text, re.M)
    assert [float(le) for le in upstream_buckets] == sorted(float(le) for le in upstream_buckets)
    assert {"5.0", "60.0", "180.0", "+Inf"} <= set(upstream_buckets)


def test_no_label_value_comes_from_a_caller(gateway: Served, upstream: FakeMinimax) -> None:
    secret = "what-only-the-caller-knows"
    for request in (
        post({"model": secret, "prompt": secret}),
        post({"model": f"MiniMax-Image-01{secret}", "prompt": "p"}),
        post({"model": MODEL, "prompt": secret, secret: secret, "user": secret}, f"x-request-id: {secret}"),
        post({}, path=f"/{secret}"),
        post({}, path=f"/v1/images/{secret}"),
        post({}, path=f"/v1/images/generations?{secret}"),
        *(head("GET", path) for path in ("/", "/usage", "/docs", "/openapi.json")),
        head("GET", f"/docs?{secret}"),
        head("GET", f"/assets/{secret}/common/page.css"),
        head("GET", f"/assets/{secret}/{secret}"),
        head("GET", f"/v1/models/{secret}"),
        head("DELETE", f"/v1/models/{secret}"),
        head(secret.upper().replace("-", ""), "/healthz"),
        head("GET", "/healthz", f"Host: {secret}", f"User-Agent: {secret}", f"X-{secret}: 1"),
        post({}, key=secret),
        f"{secret}\r\n\r\n".encode(),
    ):
        assert ask(gateway.url, request).status in (200, 400, 401, 404, 405, 415)
    for message in (secret, {"status_code": secret}):
        upstream.script = respond(error_response(secret, message))
        assert ask(gateway.url, generation("p")).status == 502

    metrics = Metrics(gateway.url)
    allowed = {
        "endpoint": {
            "none",
            GENERATIONS,
            EDITS,
            "/v1/models",
            "/v1/models/<model_id>",
            "/healthz",
            "/readyz",
            "/metrics",
            "/",
            "/usage",
            "/docs",
            "/openapi.json",
            "/assets/<version>/<path:name>",
        },
        "model": {"none", *(model.id for model in MODELS)},
        "code": {SUCCESS, OTHER, *map(str, STATUS_CODES), *WITHOUT_CODE},
        "reason": {*RESTS, "queue_full", "not_in_time", "store_unavailable"},
        "state": {*RESTS, "healthy"},
        "way": set(WAYS),
    }
    seen = {(label, value) for _, pairs in metrics.samples for label, value in pairs}
    for label, value in seen:
        if label == "status":
            assert re.fullmatch(r"[2-5]\d\d", value)
        elif label == "le":
            float(value)
        else:
            assert value in allowed[label]
    assert {label for label, _ in seen} == {"endpoint", "model", "code", "status", "le", "reason", "state", "way"}
    assert secret not in metrics.text
    assert processes.API_KEY not in metrics.text


def test_a_killed_worker_keeps_its_counters_and_loses_its_gauges(tmp_path: Path) -> None:
    with (
        holding_upstream() as upstream,
        processes.gateway(tmp_path, upstream.url, WEB_CONCURRENCY="2") as gateway,
        ExitStack() as stack,
    ):
        wait_until(lambda: len(children(gateway.process.pid)) == 2, "both workers")
        workers = children(gateway.process.pid)
        assert [reply.status for reply in by_each_worker(gateway, post(b"{"))] == [400, 400]
        callers: dict[int, list[Caller]] = {}
        for worker, count in zip(workers, (3, 2), strict=True):
            with stopped(*(other for other in workers if other != worker)):
                callers[worker] = [stack.enter_context(Caller(gateway.url)) for _ in range(count)]
                for caller in callers[worker]:
                    caller.send(generation("held"))
                upstream.wait_for(3 if count == 3 else 5)
        assert in_flight(gateway) == 5

        os.kill(workers[0], signal.SIGKILL)
        wait_until(lambda: in_flight(gateway) == 2, "the calls of the other worker alone")
        assert all(caller.is_hung_up() for caller in callers[workers[0]])
        upstream.release.set()
        assert [caller.reply().status for caller in callers[workers[1]]] == [200, 200]
        wait_until_idle(gateway)
        counted = Metrics(gateway.url).by("amux_requests_total", "endpoint", "status")
        assert counted[GENERATIONS, "400"] == 2
        assert counted[GENERATIONS, "200"] == 2


def test_a_call_whose_caller_disconnects_is_counted(tmp_path: Path) -> None:
    with holding_upstream() as upstream, processes.gateway(tmp_path, upstream.url) as gateway:
        with Caller(gateway.url) as caller:
            caller.send(generation("gone"))
            upstream.wait_for(1)
        upstream.release.set()
        wait_until_idle(gateway)
        metrics = Metrics(gateway.url)
        assert metrics.by("amux_requests_total", "endpoint", "model", "status")[GENERATIONS, GOOD, "200"] == 1
        assert metrics["amux_pictures_delivered_total"] == 1
        assert metrics.by("amux_upstream_calls_total", "code") == {("0",): 1}


def test_two_gateways_on_one_machine_count_separately(tmp_path: Path) -> None:
    """And each removes its folder at the end."""
    with start_fake_minimax() as upstream, ExitStack() as stack:
        variables = {"TMPDIR": str(tmp_path)}
        first, second = (stack.enter_context(processes.gateway(tmp_path, upstream.url, **variables)) for _ in range(2))
        assert len(list(tmp_path.glob("amux-metrics-*"))) == 2
        assert ask(first.url, generation("p")).status == 200
        assert Metrics(first.url)["amux_pictures_asked_total"] == 1
        assert Metrics(second.url)["amux_pictures_asked_total"] == 0
        assert first.stop() == second.stop() == 0
        assert list(tmp_path.glob("amux-metrics-*")) == []
