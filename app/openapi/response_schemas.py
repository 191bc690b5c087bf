"""Bodies of responses, as marshmallow schemas that apispec turns into components of the document."""

from __future__ import annotations

from dataclasses import fields

from marshmallow import Schema
from marshmallow.fields import Boolean, Dict, Field, Integer, List, Nested, String
from marshmallow.validate import Equal, Length, OneOf

from app.accounts.key_limits import RATE_LIMITS, KeyLimits
from app.errors import ERROR_TYPE
from app.metrics import WAYS
from app.openapi.examples import METADATA

EVENTS = ("image_generation.completed", "image_edit.completed")
TASK_STATES = ("queued", "in_progress", "completed", "failed")
_UNIX_SECONDS = "Unix time in seconds."
_MICRO_UNITS = "In micro-units of the gateway's currency."


def _text(description: str = "", *, null: bool = False, required: bool = True, **rules: str) -> Field[str]:
    metadata = rules | ({"description": description} if description else {})
    return String(required=required, allow_none=null, metadata=metadata)


def _constant(value: str) -> Field[str]:
    return String(required=True, validate=Equal(value))


def _number(description: str = "", *, null: bool = False) -> Field[int]:
    return Integer(required=True, allow_none=null, metadata={"description": description} if description else {})


class ErrorObjectSchema(Schema):
    message = _text("For a person. It never holds a key.")
    type = _constant(ERROR_TYPE)
    param = _text("The faulty field, header or parameter, if there is one.", null=True)
    code = _text("MiniMax's number if MiniMax rejected the call, else a stable word.")


class ErrorSchema(Schema):
    error = Nested(ErrorObjectSchema, required=True)


class ImageSchema(Schema):
    """One of the two, as `response_format` asks for."""

    url = _text(
        "MiniMax's own, which expires after 24 hours, or that of an image that is kept; a `data:` URL where an image "
        "could not be kept.",
        required=False,
        format="uri",
    )
    b64_json = _text("The image in base64, a JPEG as a rule.", required=False)


class ImagesSchema(Schema):
    created = _number(_UNIX_SECONDS)
    data = List(
        Nested(ImageSchema),
        required=True,
        validate=Length(min=1),
        metadata={"description": "Shorter than `n` where MiniMax's safety filter has withheld images."},
    )
    metadata = Dict(
        metadata={"description": "As MiniMax sent it: `success_count` and `failed_count`.", "examples": [METADATA]}
    )


class ImageEventSchema(Schema):
    """The `data` of one event of an event stream."""

    type = String(required=True, validate=OneOf(EVENTS))
    b64_json = _text("The image in base64.")
    created_at = _number(_UNIX_SECONDS)
    size = _text("`WIDTHxHEIGHT` in pixels.")
    quality = _constant("auto")
    background = _constant("opaque")
    output_format = String(required=True, validate=OneOf(["jpeg", "png", "webp"]))
    url = _text("Of an image that is kept.", required=False, format="uri")


class TaskErrorSchema(ErrorObjectSchema):
    http_status = _number("The status that the call would have had on its own connection.")


class TaskSchema(Schema):
    id = _text()
    object = _constant("image.task")
    status = String(required=True, validate=OneOf(TASK_STATES))
    created = _number(_UNIX_SECONDS)
    result = Nested(ImagesSchema, metadata={"description": "Of a task that is `completed`."})
    error = Nested(TaskErrorSchema, metadata={"description": "Of a task that has `failed`."})


class TasksSchema(Schema):
    object = _constant("list")
    data = List(Nested(TaskSchema), required=True)


class PricingSchema(Schema):
    currency = _text("Three capital letters.")
    per_image_micro_units = _number("A millionth of the currency is one micro-unit.")


class ModelSchema(Schema):
    id = _text()
    object = _constant("model")
    created = _number(_UNIX_SECONDS)
    owned_by = _text()
    pricing = Nested(PricingSchema, metadata={"description": "Where the operator has set a price."})


class ModelsSchema(Schema):
    object = _constant("list")
    data = List(Nested(ModelSchema), required=True)


KeyLimitsSchema = Schema.from_dict(
    {field.name: Integer(required=True, allow_none=True) for field in fields(KeyLimits)}, name="KeyLimitsSchema"
)

LimitResetsSchema = Schema.from_dict(
    {rate.name: Integer(required=True, allow_none=True) for rate in RATE_LIMITS}, name="LimitResetsSchema"
)


class UsageTotalSchema(Schema):
    day = _text("In UTC.", format="date")
    model = _text("Null for requests that named no valid model.", null=True)
    requests = _number()
    asked = _number("Images asked for.")
    delivered = _number("Images delivered.")
    charged = _number(_MICRO_UNITS)
    taken = Dict(
        keys=String(),
        values=Integer(),
        required=True,
        metadata={
            "description": f"Requests by how their answer was taken: {', '.join(WAYS)}.",
            "examples": [{WAYS[0]: 3}],
        },
    )


class UsageSchema(Schema):
    object = _constant("usage")
    start = _text(format="date")
    end = _text(format="date")
    data = List(Nested(UsageTotalSchema), required=True)
    balance = _number(f"{_MICRO_UNITS} Null: no limit.", null=True)
    limits = Nested(KeyLimitsSchema, required=True)
    remaining = Nested(
        KeyLimitsSchema, required=True, metadata={"description": "What is left of each limit. Null: no limit."}
    )
    reset_seconds = Nested(
        LimitResetsSchema, required=True, metadata={"description": "Seconds until nothing is used. Null: no limit."}
    )


class UsageRequestSchema(Schema):
    object = _constant("usage.request")
    created = _number(_UNIX_SECONDS)
    request_id = _text("`x-request-id` of its response.")
    endpoint = _text()
    model = _text(null=True)
    status = _number("The HTTP status.")
    code = _text("That of the error.", null=True)
    asked = _number("Images asked for.")
    delivered = _number("Images delivered.")
    charged = _number(_MICRO_UNITS)
    milliseconds = _number("The duration of the request.")
    taken = String(required=True, validate=OneOf(WAYS))
    trace_id = _text("MiniMax's id of the call.", null=True)


class UsageRequestsSchema(Schema):
    object = _constant("list")
    data = List(Nested(UsageRequestSchema), required=True)
    next = _text("`before` of the next page; null on the last one.", null=True)


class DeletedImageSchema(Schema):
    id = _text()
    object = _constant("image")
    deleted = Boolean(required=True)


class DeletedTaskSchema(DeletedImageSchema):
    object = _constant("image.task")


class StatusSchema(Schema):
    status = _text()


# By the name of the component.
RESPONSES = {
    "Error": ErrorSchema,
    "Images": ImagesSchema,
    "ImageEvent": ImageEventSchema,
    "Task": TaskSchema,
    "Tasks": TasksSchema,
    "Model": ModelSchema,
    "Models": ModelsSchema,
    "Usage": UsageSchema,
    "UsageRequests": UsageRequestsSchema,
    "DeletedImage": DeletedImageSchema,
    "DeletedTask": DeletedTaskSchema,
    "Status": StatusSchema,
}
