"""Headers of responses and requests, and the parameters of the query."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from app.accounts.key_limits import RATE_LIMITS
from app.blueprints import tasks, usage
from app.web.task_headers import IDEMPOTENCY_KEY, RETRY_COUNT

Described = dict[str, Any]
_WHATS = {
    "limit": "The limit of {} per minute.",
    "remaining": "How many {} are left of the limit.",
    "reset": "The time until the limit of {} is unused, such as `6m0s`.",
}


def _header(description: str, type_: str = "string", **rules: Any) -> Described:
    return {"description": description, "schema": {"type": type_, **rules}}


# By name, in lower case.
HEADERS: dict[str, Described] = {
    "x-request-id": _header("The caller's own if it is valid, else a new one. Name it to the operator.")
    | {"required": True},
    "x-should-retry": _header(
        "`true` only where a retry is known to cost nothing. The OpenAI SDKs obey it.", enum=["true", "false"]
    ),
    "retry-after": _header("Seconds to wait before a retry.", "integer", minimum=0),
    "idempotent-replayed": _header("The idempotency key was used before.", enum=["true"]),
    "x-minimax-trace-id": _header("MiniMax's id of the call, for its support."),
    "x-amux-ignored": _header("Fields that have no effect, with commas between them."),
    "x-amux-charged": _header("What the request cost, in micro-units.", "integer"),
    "x-amux-balance": _header("What is left of the key's balance, in micro-units.", "integer"),
    "x-amux-queued-ms": _header("How long the call waited for its turn, in milliseconds.", "integer", minimum=0),
    "x-amux-image-store": _header("Images could not be kept: their `url` is a `data:` URL.", enum=["unavailable"]),
    **{
        f"x-ratelimit-{what}-{rate.header}": _header(text.format(rate.unit))
        for what, text in _WHATS.items()
        for rate in RATE_LIMITS
    },
    "www-authenticate": _header("`Bearer`."),
    "location": _header("The path of the task, or the URL of the image.", format="uri-reference"),
    "preference-applied": _header("To `Prefer: respond-async`.", enum=["respond-async"]),
    "cache-control": _header("How long the response may be kept."),
    "etag": _header("For `If-None-Match`."),
    "last-modified": _header("When the image was drawn."),
    "accept-ranges": _header("`Range` is supported."),
    "content-range": _header("The range in the body, and the size of the image."),
    "x-content-type-options": _header("The type of the body is not to be guessed.", enum=["nosniff"]),
    "accept-encoding": _header("`identity`: send the body without compression."),
    "x-accel-buffering": _header("Of an event stream: nginx is to pass each event on at once.", enum=["no"]),
    "allow": _header("The methods of this path."),
}
EVERY_HEADER = ("x-request-id",)
KEYED_HEADERS = (*EVERY_HEADER, "x-amux-charged")
_LIMITS = tuple(name for name in HEADERS if name.startswith("x-ratelimit-"))
CALL_HEADERS = (
    *("idempotent-replayed", "x-minimax-trace-id", "x-amux-ignored", "x-amux-balance", "x-amux-queued-ms"),
    *_LIMITS,
)
# Of errors, by their status.
STATUS_HEADERS = {
    401: ("www-authenticate",),
    405: ("allow",),
    415: ("accept-encoding",),
    416: ("content-range",),
}
IMAGE_HEADERS = (*KEYED_HEADERS, *CALL_HEADERS, "x-amux-image-store", "cache-control", "x-accel-buffering")
ERROR_HEADERS = (*KEYED_HEADERS, "x-should-retry", "retry-after", "cache-control")
TASK_HEADERS = (*KEYED_HEADERS, "cache-control", "retry-after", "x-minimax-trace-id", "x-amux-image-store")
ACCEPTED_HEADERS = (*KEYED_HEADERS, *CALL_HEADERS, "cache-control", "location", "preference-applied")


def references(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _parameter(name: str, place: str, description: str, **schema: Any) -> Described:
    return {"name": name, "in": place, "description": description, "schema": schema}


def _in_path(name: str, description: str, **schema: Any) -> Described:
    return _parameter(name, "path", description, type="string", **schema) | {"required": True}


def _whole(name: str, description: str, low: int, high: int, default: int) -> Described:
    return _parameter(name, "query", description, type="integer", minimum=low, maximum=high, default=default)


# Parameters of operations.
PARAMETERS: dict[str, Described] = {
    "idempotencyKey": _parameter(
        IDEMPOTENCY_KEY,
        "header",
        "The same key with the same request gets the same answer, and costs nothing.",
        type="string",
        maxLength=255,
        pattern="^[!-~]([ -~]*[!-~])?$",
    ),
    "prefer": _parameter("Prefer", "header", "`respond-async`: the response is 202, with a task.", type="string"),
    "retryCount": _parameter(
        RETRY_COUNT,
        "header",
        "The OpenAI SDKs send it with each attempt. From 1, the request may take the answer of the call that it "
        "repeats. Anything but a number is ignored.",
        type="string",
    ),
    "range": _parameter("Range", "header", "One range of bytes, such as `bytes=0-1023`.", type="string"),
    "ifNoneMatch": _parameter(
        "If-None-Match", "header", "An `ETag` of before: the response is 304 if it has not changed.", type="string"
    ),
    "ifMatch": _parameter(
        "If-Match", "header", "An `ETag`: the response is 412 if the image has another one.", type="string"
    ),
    "limit": _whole("limit", "How many to list, newest first.", 1, tasks.MAX_LISTED, tasks.DEFAULT_LISTED),
    "usageLimit": _whole("limit", "How many to list, newest first.", 1, usage.MAX_LISTED, usage.DEFAULT_LISTED),
    "before": _parameter("before", "query", "`next` of the page before.", type="string"),
    "wait": _whole("wait", "Seconds for which the response waits for the task to end.", 0, tasks.MAX_WAIT_SECONDS, 0),
    "start": _parameter("start", "query", "The first day, in UTC.", type="string", format="date"),
    "end": _parameter("end", "query", f"The last day; at most {usage.MAX_DAYS} in all.", type="string", format="date"),
    "task_id": _in_path("task_id", "`id` of the task."),
    "model_id": _in_path("model_id", "A name that image requests accept."),
    "image_id": _in_path("image_id", "The id in the image's URL.", minLength=32, maxLength=32),
    "name": _in_path("name", "The id of an image and its file extension."),
}
CALL_PARAMETERS = ("idempotencyKey", "prefer", "retryCount")
