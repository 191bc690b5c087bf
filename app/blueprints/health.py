"""`/healthz`, `/readyz` and `/metrics`. They need no API key and call neither MiniMax nor the database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from flask import Blueprint, Response, jsonify
from flask.typing import ResponseReturnValue
from prometheus_client import CONTENT_TYPE_LATEST

from app import metrics
from app.web.shutdown import shutting_down


class KeyPool(Protocol):
    def state_names(self) -> Sequence[str]:
        """`healthy`, or why it rests, for each upstream key."""
        ...


def create_health_blueprint(key_pool: KeyPool) -> Blueprint:
    health = Blueprint("health", __name__)

    @health.get("/metrics")
    def show_metrics() -> ResponseReturnValue:
        """Metrics of all workers in Prometheus's text format."""
        metrics.set_key_states(key_pool.state_names())
        return Response(metrics.exposition(), content_type=CONTENT_TYPE_LATEST)

    health.get("/healthz")(healthz)
    health.get("/readyz")(readyz)
    return health


def healthz() -> ResponseReturnValue:
    """Liveness: the process responds."""
    return jsonify({"status": "ok"})


def readyz() -> ResponseReturnValue:
    """Readiness: 503 once a stop was requested. Settings were validated at startup."""
    if shutting_down.is_set():
        return jsonify({"status": "draining"}), 503
    return jsonify({"status": "ready"})
