"""`POST /v1/images/generations` and `POST /v1/images/edits`."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response
from flask.typing import ResponseReturnValue

from app.schemas.form_request_schema import FormImageRequestSchema
from app.schemas.image_request_schema import EDITS, GENERATIONS, ImageRequestSchema
from app.services.image_service import ImageService
from app.services.response import to_openai
from app.settings import Settings
from app.spooling.json_writer import JsonBody
from app.web.client_disconnect import client_disconnect_check
from app.web.concurrency_limit import ConcurrencyLimit
from app.web.request_body import form_body, is_form, json_body
from app.web.request_context import current_context


def create_images_blueprint(settings: Settings, service: ImageService, authenticate: Callable[[], None]) -> Blueprint:
    images = Blueprint("images", __name__, url_prefix="/v1/images")
    images.before_request(authenticate)
    images.before_request(ConcurrencyLimit(settings.max_calls).acquire)

    generations_schema = ImageRequestSchema(settings, GENERATIONS)
    edits_schema = ImageRequestSchema(settings, EDITS)
    edits_form_schema = FormImageRequestSchema(settings, EDITS)

    @images.post("/generations")
    def generations() -> ResponseReturnValue:
        return generate_images(generations_schema, json_body())

    @images.post("/edits")
    def edits() -> ResponseReturnValue:
        if is_form():
            return generate_images(edits_form_schema, form_body())
        return generate_images(edits_schema, json_body())

    def generate_images(schema: ImageRequestSchema, body: dict[str, Any]) -> ResponseReturnValue:
        context = current_context()
        caller = context.known_caller
        image_request = schema.read(body, caller.response_format)
        context.set_request(image_request)
        result = service.generate(caller, image_request, context.request_id, context.receipt, client_disconnect_check())
        context.set_result(result)
        document = to_openai(result, image_request, created=int(time.time()))
        return stream_json_response(document, on_close=result.close)

    return images


def stream_json_response(document: Any, on_close: Callable[[], None]) -> Response:
    """Return `document` as a JSON response that is sent in chunks.

    `on_close` is called once the response is sent, or the caller has disconnected.
    """
    body = JsonBody(document)
    response = Response(body, content_type="application/json")
    response.content_length = len(body)
    response.call_on_close(on_close)
    return response
