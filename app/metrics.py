"""Prometheus metrics, aggregated over all workers.

Workers share their counts through files in `PROMETHEUS_MULTIPROC_DIR` (prometheus_client's multiprocess mode), which
gunicorn.conf.py sets before this module is imported. No label takes a value that a caller can choose.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Collection

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from app.model_catalog import MODELS

SUCCESS, OTHER = "0", "other"
# A file of a worker is empty for a moment after it is created.
EMPTY_FILE_ATTEMPTS = 50
EMPTY_FILE_PAUSE_SECONDS = 0.02
# How an answer is taken: on the connection that began the call, by a retry that joined it, by an idempotency key, as
# a task, as a stream, or not at all, because the caller had left.
WAYS = ("connection", "retry", "idempotency_key", "task", "stream", "nobody")

# Images take 5 to 60 s; the upstream deadline is 180 s by default.
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 20, 30, 45, 60, 90, 120, 180)

REQUESTS = Counter("amux_requests", "Requests by endpoint, model and HTTP status", ["endpoint", "model", "status"])
REQUEST_SECONDS = Histogram(
    "amux_request_seconds", "Time from the request to its response, in seconds", ["endpoint"], buckets=SECONDS
)
UPSTREAM_CALLS = Counter("amux_upstream_calls", "Upstream calls by MiniMax status code or gateway error code", ["code"])
UPSTREAM_SECONDS = Histogram("amux_upstream_seconds", "Duration of an upstream call, in seconds", buckets=SECONDS)
IMAGES_REQUESTED = Counter("amux_pictures_asked", "Images requested from MiniMax", ["model"])
IMAGES_DELIVERED = Counter("amux_pictures_delivered", "Images delivered to callers", ["model"])
IN_FLIGHT = Gauge("amux_calls_in_flight", "Image requests in flight", multiprocess_mode="livesum")
LIMITS_DEGRADED = Gauge(
    "amux_limits_degraded",
    "Workers using in-process rate limits because Redis is unavailable",
    multiprocess_mode="livesum",
)
DATABASE_UNAVAILABLE = Gauge(
    "amux_database_gone", "Workers whose last database operation failed", multiprocess_mode="livesum"
)
JOURNAL_ENTRIES = Gauge("amux_journal_pieces", "Journal entries waiting for replay", multiprocess_mode="livemax")
UNKNOWN_OUTCOMES = Counter("amux_unknown_outcomes", "Reservations closed as unknown: MiniMax may have drawn and billed")
REJECTED_FULL = Counter("amux_refused_full", "Calls rejected by the concurrency limit")
CALLS_WAITING = Gauge(
    "amux_calls_waiting", "Calls waiting for a turn with an upstream key", multiprocess_mode="livesum"
)
QUEUE_SECONDS = Histogram("amux_queue_seconds", "Time a call waited for its turn, in seconds", buckets=SECONDS)
QUEUE_REJECTED = Counter("amux_queue_rejected", "Calls rejected because no turn came in time, by reason", ["reason"])
KEY_RESTS = Counter("amux_upstream_key_rests", "Times that an upstream key began to rest, by reason", ["reason"])
KEYS = Gauge("amux_upstream_keys", "Upstream keys by state", ["state"], multiprocess_mode="mostrecent")
IMAGES_KEPT_BYTES = Gauge(
    "amux_images_kept_bytes", "Bytes of the images in the image store, once an hour", multiprocess_mode="mostrecent"
)
IMAGES_KEPT_OLDEST = Gauge(
    "amux_images_kept_oldest_seconds",
    "Age of the oldest image in the image store, in seconds, once an hour",
    multiprocess_mode="mostrecent",
)
ANSWERS_TAKEN = Counter("amux_answers_taken", "Calls by how their answer was taken", ["way"])
ANSWER_BYTES = Gauge("amux_answer_bytes", "Bytes of the answers that are kept", multiprocess_mode="mostrecent")
REQUEST_BYTES = Counter("amux_request_bytes", "Request body bytes received")
RESPONSE_BYTES = Counter("amux_response_bytes", "Response body bytes sent")


# Known series exist from the start: an alert on `increase()` does not fire for a series whose first value is 1.
for _model in MODELS:
    IMAGES_REQUESTED.labels(_model.id)
    IMAGES_DELIVERED.labels(_model.id)
for _way in WAYS:
    ANSWERS_TAKEN.labels(_way)
for _reason in ("rate", "account", "refused"):
    KEY_RESTS.labels(_reason)
for _gauge in (IMAGES_KEPT_BYTES, IMAGES_KEPT_OLDEST, ANSWER_BYTES):
    _gauge.set(0)  # one of these, unlike others, is not exposed before it is set
for _reason in ("queue_full", "not_in_time", "store_unavailable"):
    QUEUE_REJECTED.labels(_reason)


def set_key_states(states: Collection[str]) -> None:
    """`states` has `healthy`, `rate`, `account` or `refused` for each upstream key."""
    for state in ("healthy", "rate", "account", "refused"):
        KEYS.labels(state).set(sum(one == state for one in states))


_upstream_codes: set[str] = {SUCCESS, OTHER}


def register_upstream_codes(codes: Collection[str]) -> None:
    """Create a series for each code, so that no label takes a value that only MiniMax could choose."""
    _upstream_codes.update(codes)
    for code in _upstream_codes:
        UPSTREAM_CALLS.labels(code)


def count_upstream_call(code: str) -> None:
    UPSTREAM_CALLS.labels(upstream_label(code)).inc()


def upstream_label(code: str) -> str:
    """The `code` label of an upstream call: a registered code, or `other`, which bounds the number of series."""
    return code if code in _upstream_codes else OTHER


def exposition() -> bytes:
    """All workers' metrics in Prometheus's text format."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest()
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    for _ in range(EMPTY_FILE_ATTEMPTS):
        try:
            return generate_latest(registry)
        except struct.error:
            time.sleep(EMPTY_FILE_PAUSE_SECONDS)
    return generate_latest(registry)
