"""Owns `GET /v1/usage`, and the row that each image request leaves for it."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Flask, Response, jsonify, request
from flask.typing import ResponseReturnValue

from app.errors import InvalidRequest
from app.web.request_context import RequestContext, current_context

if TYPE_CHECKING:
    from app.storage.storage import Storage

DEFAULT_PERIOD = timedelta(days=29)  # with the last one, 30 days
MAX_DAYS = 366

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def register_usage(app: Flask, storage: Storage, authenticate: Callable[[], None]) -> None:
    usage = Blueprint("usage", __name__, url_prefix="/v1/usage")
    usage.before_request(authenticate)

    @usage.get("")
    def show() -> ResponseReturnValue:
        """The caller's own: totals by day (UTC) and model from `start` to `end` inclusive, its balance and limits."""
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

    @app.after_request
    def write_row(response: Response) -> Response:
        context = current_context()
        if request.blueprint == "images" and context.caller is not None and context.caller.key_id is not None:
            storage.record_usage(_row(context, context.caller.key_id, response.status_code))
        return response

    app.register_blueprint(usage)
    app.extensions["storage"] = storage


def _row(context: RequestContext, key_id: int, status: int) -> dict[str, Any]:
    return {
        "id": uuid.uuid4().hex,
        "key_id": key_id,
        "created_at": datetime.now(UTC).isoformat(),
        "request_id": context.request_id,
        "endpoint": request.url_rule.rule if request.url_rule else "none",
        "model": context.model,
        "asked": context.n or 0,
        "delivered": context.delivered,
        "charged": context.receipt.charged or 0,
        "status": status,
        "code": context.code,
        "milliseconds": round(context.seconds * 1000),
        "trace_id": context.trace_id,
    }


def _period() -> tuple[date, date]:
    """The first and the last day asked for. Raises `InvalidRequest`, which names the field."""
    for name in request.args:
        if name not in ("start", "end"):
            raise InvalidRequest(f"{name} is not known here: send start and end.", param=name)
    end, start, today = _day("end"), _day("start"), datetime.now(UTC).date()
    last = end or today
    first = start or max(last, date.min + DEFAULT_PERIOD) - DEFAULT_PERIOD
    if first > last and end is None:
        raise InvalidRequest(f"start lies in the future: today, in UTC, is {today}.", param="start")
    if first > last:
        raise InvalidRequest("start must not come after end.", param="start")
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
        if not _DAY.fullmatch(text):
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidRequest(f"{name} must be a day like 2026-01-31.", param=name) from None
