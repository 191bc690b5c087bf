"""Owns `/healthz` and `/readyz`: they need no key, call nobody and spend nothing."""

from __future__ import annotations

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

health = Blueprint("health", __name__)


@health.get("/healthz")
def healthz() -> ResponseReturnValue:
    """The process is up."""
    return jsonify({"status": "ok"})


@health.get("/readyz")
def readyz() -> ResponseReturnValue:
    """The configuration is usable: with any other, the app would not have been created."""
    return jsonify({"status": "ready"})
