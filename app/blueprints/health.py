"""Owns `/healthz`, `/readyz` and `/metrics`: they need no key, call nobody and spend nothing."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify
from flask.typing import ResponseReturnValue
from prometheus_client import CONTENT_TYPE_LATEST

from app import metrics
from app.web.shutdown import shutting_down

health = Blueprint("health", __name__)


@health.get("/healthz")
def healthz() -> ResponseReturnValue:
    """The process is up."""
    return jsonify({"status": "ok"})


@health.get("/readyz")
def readyz() -> ResponseReturnValue:
    """The configuration is usable (with any other, the app would not exist), and no stop has been asked for."""
    if shutting_down.is_set():
        return jsonify({"status": "draining"}), 503
    return jsonify({"status": "ready"})


@health.get("/metrics")
def show_metrics() -> ResponseReturnValue:
    """For Prometheus."""
    return Response(metrics.exposition(), content_type=CONTENT_TYPE_LATEST)
