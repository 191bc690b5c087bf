"""Owns what an operator watches: counted by every worker, and served whole by whichever one is asked.

Workers share their counts through files in `PROMETHEUS_MULTIPROC_DIR` (prometheus_client's multiprocess mode), which
gunicorn.conf.py sets before this is imported. No label has a value that a caller could choose.
"""

from __future__ import annotations

import os
from collections.abc import Collection

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from app.model_catalog import MODELS

SUCCESS, OTHER = "0", "other"

# Pictures take 5 to 60 s; the upstream deadline is 180 s by default.
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 20, 30, 45, 60, 90, 120, 180)

REQUESTS = Counter("amux_requests", "Requests answered", ["endpoint", "model", "status"])
REQUEST_SECONDS = Histogram("amux_request_seconds", "From the request to its answer", ["endpoint"], buckets=SECONDS)
UPSTREAM_CALLS = Counter("amux_upstream_calls", "Calls of MiniMax by what it said: its code, or our word", ["code"])
UPSTREAM_SECONDS = Histogram("amux_upstream_seconds", "How long MiniMax took", buckets=SECONDS)
IMAGES_REQUESTED = Counter("amux_pictures_asked", "Pictures that MiniMax was asked for", ["model"])
IMAGES_DELIVERED = Counter("amux_pictures_delivered", "Pictures that callers got", ["model"])
IN_FLIGHT = Gauge("amux_calls_in_flight", "ConcurrencyLimit taken now", multiprocess_mode="livesum")
LIMITS_DEGRADED = Gauge(
    "amux_limits_degraded", "Workers that count their keys' limits alone, as Redis is gone", multiprocess_mode="livesum"
)
DATABASE_UNAVAILABLE = Gauge(
    "amux_database_gone", "Workers that the database has not answered when they last asked", multiprocess_mode="livesum"
)
JOURNAL_ENTRIES = Gauge(
    "amux_journal_pieces", "Charges and rows of usage that wait in the journal's folder", multiprocess_mode="livemax"
)
UNKNOWN_OUTCOMES = Counter("amux_unknown_outcomes", "Reservations that ended as unknown: MiniMax may have drawn")
REJECTED_FULL = Counter("amux_refused_full", "Calls refused because every slot was taken")
REQUEST_BYTES = Counter("amux_request_bytes", "Bytes of bodies received")
RESPONSE_BYTES = Counter("amux_response_bytes", "Bytes of bodies answered")


# The known series exist from the start: an alert on `increase()` cannot see one whose first value is 1.
for _model in MODELS:
    IMAGES_REQUESTED.labels(_model.id)
    IMAGES_DELIVERED.labels(_model.id)


_upstream_codes: set[str] = {SUCCESS, OTHER}


def register_upstream_codes(codes: Collection[str]) -> None:
    """Create a series for each code, so that no label takes a value that only MiniMax could choose."""
    _upstream_codes.update(codes)
    for code in _upstream_codes:
        UPSTREAM_CALLS.labels(code)


def upstream_label(code: str) -> str:
    """MiniMax's code, or our word; `other` for a code that nobody knows, of which there may be any number."""
    return code if code in _upstream_codes else OTHER


def exposition() -> bytes:
    """All workers' metrics in Prometheus's text format."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest()
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
