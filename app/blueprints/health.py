"""`/healthz`, `/readyz` and `/metrics`. They need no API key and call neither MiniMax nor the database."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify
from flask.typing import ResponseReturnValue
from prometheus_client import CONTENT_TYPE_LATEST

from app import metrics
from app.web.shutdown import shutting_down

health = Blueprint("health", __name__)


@health.get("/healthz")
def healthz() -> ResponseReturnValue:
    """Liveness: the process responds."""
    return jsonify({"status": "ok"})


@health.get("/readyz")
def readyz() -> ResponseReturnValue:
    """Readiness: 503 once a stop was requested. Settings were validated at startup."""
    if shutting_down.is_set():
        return jsonify({"status": "draining"}), 503
    return jsonify({"status": "ready"})


@health.get("/metrics")
def show_metrics() -> ResponseReturnValue:
    """Metrics of all workers in Prometheus's text format."""
    return Response(metrics.exposition(), content_type=CONTENT_TYPE_LATEST)
