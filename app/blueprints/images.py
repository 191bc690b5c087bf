"""`POST /v1/images/generations` and `POST /v1/images/edits`, and both with `/async`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from flask import Blueprint
from flask.typing import ResponseReturnValue

from app.delivery.deliver import Delivery
from app.schemas.form_request_schema import FormImageRequestSchema
from app.schemas.image_request_schema import EDITS, GENERATIONS, ImageRequestSchema
from app.settings import Settings
from app.tasks.call import Call
from app.tasks.task_service import TaskService
from app.web.concurrency_limit import ConcurrencyLimit
from app.web.request_body import form_body, is_form, json_body
from app.web.request_context import current_context
from app.web.task_headers import idempotency_key, prefers_async, retry_count


@dataclass(frozen=True)
class Operation:
    """What one of the two endpoints reads. `form_schema` is None where it takes no form."""

    name: str
    json_schema: ImageRequestSchema
    form_schema: ImageRequestSchema | None = None

    def read_call(self, *, is_async: bool) -> Call:
        """The call that the current request asks for. Raises what reading and validating it raise."""
        if self.form_schema and is_form():
            schema, body = self.form_schema, form_body()
        else:
            schema, body = self.json_schema, json_body()
        context = current_context()
        caller = context.known_caller
        image_request = schema.read(body, caller.response_format)
        if is_async and image_request.stream:  # a task has one result
            image_request = replace(image_request, stream=False, ignored=(*image_request.ignored, "stream"))
        context.set_request(image_request)
        return Call(
            caller,
            image_request,
            self.name,
            context.request_id,
            context.receipt,
            idempotency_key=idempotency_key(),
            retry_count=retry_count(),
            is_async=is_async,
        )


def create_images_blueprint(settings: Settings, tasks: TaskService, authenticate: Callable[[], None]) -> Blueprint:
    images = Blueprint("images", __name__, url_prefix="/v1/images")
    images.before_request(authenticate)
    images.before_request(_mark_image_request)
    images.before_request(ConcurrencyLimit(settings.max_calls).acquire)

    generations = Operation("generations", ImageRequestSchema(settings, GENERATIONS))
    edits = Operation("edits", ImageRequestSchema(settings, EDITS), FormImageRequestSchema(settings, EDITS))
    delivery = Delivery(tasks, settings)

    def add_routes(operation: Operation) -> None:
        def respond() -> ResponseReturnValue:
            return delivery.respond(operation.read_call(is_async=prefers_async()))

        def respond_async() -> ResponseReturnValue:
            return delivery.respond(operation.read_call(is_async=True))

        images.add_url_rule(f"/{operation.name}", operation.name, respond, methods=["POST"])
        images.add_url_rule(f"/{operation.name}/async", f"{operation.name}_async", respond_async, methods=["POST"])

    add_routes(generations)
    add_routes(edits)
    return images


def _mark_image_request() -> None:
    current_context().is_image_request = True
