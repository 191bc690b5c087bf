"""`GET /v1/usage`; records one usage row per image request."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Flask, jsonify, request
from flask.typing import ResponseReturnValue

from app.errors import InvalidRequest
from app.storage.period import InvalidPeriod, parse_day, resolve_period
from app.web.request_context import RequestContext, current_context

if TYPE_CHECKING:
    from app.storage.storage import Storage

MAX_DAYS = 366


def register_usage(app: Flask, storage: Storage, authenticate: Callable[[], None]) -> None:
    """Register `GET /v1/usage`, and a hook that records a usage row after each image request of a stored key.

    Also makes `storage` available as `app.extensions["storage"]`, where gunicorn.conf.py finds it.
    """
    usage = Blueprint("usage", __name__, url_prefix="/v1/usage")
    usage.before_request(authenticate)

    @usage.get("")
    def show() -> ResponseReturnValue:
        """The caller's totals by day (UTC) and model from `start` to `end` inclusive, its balance and its limits."""
        first, last = _period()
        key = storage.keys.by_id(current_context().known_caller.key_id or 0)
        totals = storage.usage.totals(key.id, first, last)
        return jsonify(
            {
                "object": "usage",
                "start": first.isoformat(),
                "end": last.isoformat(),
                "data": [asdict(total) for total in totals],
                "balance": key.balance,
                "limits": asdict(key.limits),
            }
        )

    def record_usage(context: RequestContext, endpoint: str, status: int) -> None:
        if context.caller is not None and context.caller.key_id is not None:
            storage.record_usage(_row(context, context.caller.key_id, endpoint, status))

    app.register_blueprint(usage)
    app.extensions["record_usage"] = record_usage
    app.extensions["storage"] = storage


def _row(context: RequestContext, key_id: int, endpoint: str, status: int) -> dict[str, Any]:
    return {
        "id": uuid.uuid4().hex,
        "key_id": key_id,
        "created_at": datetime.now(UTC).isoformat(),
        "request_id": context.request_id,
        "endpoint": endpoint,
        "model": context.model,
        "asked": context.asked,
        "delivered": context.delivered,
        "charged": context.receipt.charged or 0,
        "status": status,
        "code": context.code,
        "milliseconds": round(context.seconds * 1000),
        "trace_id": context.trace_id,
        "taken": context.taken or "connection",
    }


def _period() -> tuple[date, date]:
    """The first and the last day requested. Raises `InvalidRequest`, which names the parameter."""
    for name in request.args:
        if name not in ("start", "end"):
            raise InvalidRequest(f"{name} is not known here: send start and end.", param=name)
    end, start = _day("end"), _day("start")
    try:
        first, last = resolve_period(start, end)
    except InvalidPeriod as error:
        raise InvalidRequest(str(error), param="start") from None
    if (last - first).days >= MAX_DAYS:
        raise InvalidRequest(f"start and end must lie within {MAX_DAYS} days.", param="start")
    return first, last


def _day(name: str) -> date | None:
    [text, *more] = request.args.getlist(name) or [""]
    if more:
        raise InvalidRequest(f"{name} is given more than once.", param=name)
    if not text:
        return None
    try:
        return parse_day(text)
    except ValueError:
        raise InvalidRequest(f"{name} must be a day like 2026-01-31.", param=name) from None
