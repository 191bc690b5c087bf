"""The operations of the document, by the endpoint of their route."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.image_formats import FORMATS
from app.openapi import examples
from app.openapi.headers import (
    ACCEPTED_HEADERS,
    CALL_PARAMETERS,
    EVERY_HEADER,
    IMAGE_HEADERS,
    KEYED_HEADERS,
    TASK_HEADERS,
    references,
)
from app.openapi.response_schemas import EVENTS

Media = dict[str, Any]
JSON = "application/json"
_TEXT: Media = {"schema": {"type": "string"}}
_IMAGE_FILE = {each.content_type: {"schema": {"type": "string", "format": "binary"}} for each in FORMATS.values()}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(name: str, shown: Mapping[str, Any] | None = None) -> dict[str, Media]:
    """A JSON body, with the examples that are `shown`."""
    return {JSON: {"schema": _ref(name)} | ({"examples": shown} if shown else {})}


def _response(description: str, content: Mapping[str, Media], headers: Sequence[str]) -> dict[str, Any]:
    described = {"description": description, "headers": references(headers)}
    return described | ({"content": dict(content)} if content else {})


@dataclass(frozen=True)
class Operation:
    """`errors` names a group of `app.openapi.errors`. A `public` operation needs no API key."""

    id: str
    tag: str
    summary: str
    errors: str
    responses: Mapping[str, dict[str, Any]]
    description: str = ""
    parameters: Sequence[str] = ()
    body: Mapping[str, Media] = field(default_factory=dict)
    public: bool = False


_EVENT = {
    "type": "object",
    "description": "With `stream: true`, one event for each image. A failure after the head was sent is one event "
    "`error`. Lines that begin with a colon are comments.",
    "properties": {
        "event": {"type": "string", "enum": [*EVENTS, "error"]},
        "data": {
            "type": "string",
            "contentMediaType": JSON,
            "contentSchema": {"anyOf": [_ref("ImageEvent"), _ref("Error")]},
        },
    },
    "required": ["event", "data"],
}
_ACCEPTED = _response(
    "The call has begun. Fetch its answer from `Location`.", _json("Task", examples.ACCEPTED), ACCEPTED_HEADERS
)
_DOCUMENT = _json("Images", examples.IMAGES)
_IMAGES = _response("The images.", _DOCUMENT | {"text/event-stream": {"schema": _EVENT}}, IMAGE_HEADERS)
_GENERATION = _json("ImageRequest", examples.GENERATION)
_EDIT = {
    "multipart/form-data": {
        "schema": _ref("ImageForm"),
        "encoding": {"image": {"contentType": "image/jpeg, image/png"}},
        "examples": examples.FORM,
    },
    **_json("ImageRequest", examples.EDIT),
}
_ASYNC_PARAMETERS = tuple(name for name in CALL_PARAMETERS if name != "prefer")
_ONCE = "MiniMax is called at most once. A call runs to its end, whatever becomes of its connection."


def _call(name: str, summary: str, errors: str, body: Mapping[str, Media]) -> Operation:
    responses = {"200": _IMAGES, "202": _ACCEPTED}
    return Operation(name, "Images", summary, errors, responses, _ONCE, CALL_PARAMETERS, body)


def _async_call(name: str, summary: str, errors: str, body: Mapping[str, Media]) -> Operation:
    return Operation(name, "Tasks", summary, errors, {"202": _ACCEPTED}, _ONCE, _ASYNC_PARAMETERS, body)


def _get(
    name: str, tag: str, summary: str, errors: str, schema: str, parameters: Sequence[str] = (), text: str = ""
) -> Operation:
    headers = TASK_HEADERS if tag == "Tasks" else KEYED_HEADERS
    body = _json(schema, examples.TASKS if schema == "Task" else None)
    return Operation(name, tag, summary, errors, {"200": _response(summary, body, headers)}, text, parameters)


def _public(name: str, tag: str, summary: str, responses: Mapping[str, dict[str, Any]], **more: Any) -> Operation:
    return Operation(name, tag, summary, more.pop("errors", "Public"), responses, public=True, **more)


_CACHED = (*EVERY_HEADER, "cache-control", "etag", "x-content-type-options")
_KEPT = (*_CACHED, "last-modified", "accept-ranges")
_DRAINING = _response("A stop was requested.", _json("Status"), EVERY_HEADER)


def _status(name: str, summary: str, **more: dict[str, Any]) -> Operation:
    ok = _response("It is.", _json("Status"), EVERY_HEADER)
    return _public(name, "Operation", summary, {"200": ok} | {key.strip("_"): value for key, value in more.items()})


OPERATIONS: Mapping[str, Operation] = {
    "images.generations": _call("createImage", "Draw images from a text", "Generation", _GENERATION),
    "images.edits": _call("createImageEdit", "Draw images from a text and a reference image", "Edit", _EDIT),
    "images.generations_async": _async_call(
        "createImageTask", "Begin to draw images from a text", "Generation", _GENERATION
    ),
    "images.edits_async": _async_call(
        "createImageEditTask", "Begin to draw images from a text and a reference image", "Edit", _EDIT
    ),
    "tasks.list_tasks": _get(
        "listTasks", "Tasks", "The newest tasks of this API key, without their results", "Tasks", "Tasks", ["limit"]
    ),
    "tasks.show_task": _get(
        *("getTask", "Tasks", "A task, with its result or its error", "Task", "Task", ["task_id", "wait"]),
        text="`Retry-After` says when to ask again while it runs.",
    ),
    "tasks.withdraw_task": Operation(
        *("withdrawTask", "Tasks", "Withdraw a task that waits for its turn", "TaskWithdrawal"),
        {"200": _response("The task is withdrawn: nothing is sent or charged.", _json("DeletedTask"), TASK_HEADERS)},
        parameters=["task_id"],
    ),
    "models.index": _get("listModels", "Models", "The models that this API key may use", "Listing", "Models"),
    "models.show": _get("retrieveModel", "Models", "One model", "Model", "Model", ["model_id"]),
    "usage.show": _get(
        *("getUsage", "Usage", "Totals by day and model, the balance and the limits of this API key"),
        *("Usage", "Usage", ["start", "end"]),
    ),
    "usage.list_requests": _get(
        *("listUsageRequests", "Usage", "The newest image requests of this API key"),
        *("Usage", "UsageRequests", ["usageLimit", "before"]),
    ),
    "show_image": _public(
        *("getImage", "Images", "An image that is kept"),
        {
            "200": _response("The image.", _IMAGE_FILE, _KEPT),
            "206": _response("A range of the image.", _IMAGE_FILE, (*_KEPT, "content-range")),
            "302": _response("Where the image is.", {}, (*_CACHED, "location")),
            "304": _response("Not modified since `If-None-Match`.", {}, _KEPT),
        },
        errors="KeptImage",
        parameters=["name", "range", "ifNoneMatch", "ifMatch"],
    ),
    "kept_images.delete": Operation(
        *("deleteImage", "Images", "Delete an image that is kept", "KeptImageDeletion"),
        {"200": _response("The image is deleted.", _json("DeletedImage"), KEYED_HEADERS)},
        parameters=["image_id"],
    ),
    "health.healthz": _status("getHealth", "Whether the process is up"),
    "health.readyz": _status("getReadiness", "Whether calls are accepted", _503=_DRAINING),
    "health.show_metrics": _public(
        *("getMetrics", "Operation", "Metrics for Prometheus"),
        {"200": _response("Prometheus's text format.", {"text/plain": _TEXT}, EVERY_HEADER)},
    ),
    "openapi.show": _public(
        *("getOpenapi", "Operation", "This document"),
        {
            "200": _response("OpenAPI 3.1.", {JSON: {"schema": {"type": "object"}}}, _CACHED),
            "304": _response("Not modified since `If-None-Match`.", {}, _CACHED),
        },
        parameters=["ifNoneMatch"],
    ),
}
