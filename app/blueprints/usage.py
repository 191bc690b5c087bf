"""`GET /v1/usage` and `GET /v1/usage/requests`; records one usage row per image request."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Flask, jsonify, request
from flask.typing import ResponseReturnValue

from app.errors import InvalidRequest
from app.storage.cursor import Cursor
from app.storage.period import InvalidPeriod, parse_day, resolve_period
from app.web.query import check_names, number
from app.web.request_context import RequestContext, current_context

if TYPE_CHECKING:
    from app.accounts.rate_limiter import RateLimiter
    from app.storage.storage import Storage
    from app.storage.tables import UsageRecord

MAX_DAYS = 366
MAX_LISTED = 100
DEFAULT_LISTED = 20
# Columns of a usage row that its caller sees, beside the time.
SHOWN = (
    *("request_id", "endpoint", "model", "status", "code"),
    *("asked", "delivered", "charged", "milliseconds", "taken", "trace_id"),
)


def register_usage(app: Flask, storage: Storage, rate_limiter: RateLimiter, authenticate: Callable[[], None]) -> None:
    """Register both endpoints, and a hook that records a usage row after each image request of a stored key.

    Also makes `storage` available as `app.extensions["storage"]`, where gunicorn.conf.py finds it.
    """
    usage = Blueprint("usage", __name__, url_prefix="/v1/usage")
    usage.before_request(authenticate)

    @usage.get("")
    def show() -> ResponseReturnValue:
        """The caller's totals by day (UTC) and model from `start` to `end` inclusive, its balance and its limits."""
        first, last = _period()
        caller = current_context().known_caller
        key = storage.keys.by_id(caller.key_id or 0)
        left = rate_limiter.left(replace(caller, limits=key.limits))
        totals = storage.usage.totals(key.id, first, last)
        return jsonify(
            {
                "object": "usage",
                "start": first.isoformat(),
                "end": last.isoformat(),
                "data": [asdict(total) for total in totals],
                "balance": key.balance,
                "limits": asdict(key.limits),
                "remaining": asdict(left.remaining),
                "reset_seconds": left.reset_seconds,
            }
        )

    @usage.get("/requests")
    def list_requests() -> ResponseReturnValue:
        """The caller's newest image requests, `limit` of them. `next` is `before` of the page that follows, or null."""
        check_names(("limit", "before"))
        limit, before = number("limit", DEFAULT_LISTED, 1, MAX_LISTED), _cursor()
        # One more than asked for tells whether a page follows.
        found = storage.usage.latest(current_context().known_caller.key_id or 0, limit + 1, before)
        page = found[:limit]
        following = str(Cursor.after(page[-1])) if len(found) > limit else None
        return jsonify({"object": "list", "data": [_request_fields(record) for record in page], "next": following})

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


def _request_fields(record: UsageRecord) -> dict[str, Any]:
    """One request as its caller sees it: neither the prompt nor an image is stored."""
    fields = {name: getattr(record, name) for name in SHOWN}
    return {"object": "usage.request", "created": int(record.created_at.timestamp())} | fields


def _cursor() -> Cursor | None:
    text = request.args.get("before", "")
    try:
        return Cursor.parse(text) if text else None
    except ValueError:
        raise InvalidRequest("before must be the value of next in an earlier response.", param="before") from None


def _period() -> tuple[date, date]:
    """The first and the last day requested. Raises `InvalidRequest`, which names the parameter."""
    check_names(("start", "end"))
    end, start = _day("end"), _day("start")
    try:
        first, last = resolve_period(start, end)
    except InvalidPeriod as error:
        raise InvalidRequest(str(error), param="start") from None
    if (last - first).days >= MAX_DAYS:
        raise InvalidRequest(f"start and end must lie within {MAX_DAYS} days.", param="start")
    return first, last


def _day(name: str) -> date | None:
    text = request.args.get(name, "")
    if not text:
        return None
    try:
        return parse_day(text)
    except ValueError:
        raise InvalidRequest(f"{name} must be a day like 2026-01-31.", param=name) from None
