"""Owns `POST /v1/images/generations` and `POST /v1/images/edits`."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response
from flask.typing import ResponseReturnValue

from app.schemas.image_request_schema import EDITS, GENERATIONS, FormImageRequestSchema, ImageRequestSchema
from app.services.image_request import ImageRequest
from app.services.image_service import ImageService
from app.services.response import to_openai
from app.settings import Settings
from app.spooling.json_writer import JsonBody
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
        return draw(generations_schema.read(json_body()))

    @images.post("/edits")
    def edits() -> ResponseReturnValue:
        return draw(edits_form_schema.read(form_body()) if is_form() else edits_schema.read(json_body()))

    def draw(image_request: ImageRequest) -> ResponseReturnValue:
        context = current_context()
        context.set_request(image_request)
        result = service.generate(context.known_caller, image_request, context.request_id, context.receipt)
        context.set_result(result)
        return send_json(to_openai(result, image_request, created=int(time.time())), then=result.close)

    return images


def send_json(document: Any, then: Callable[[], None]) -> Response:
    """`document` chunk by chunk, and `then` something once it is sent or the caller is gone."""
    body = JsonBody(document)
    response = Response(body, content_type="application/json")
    response.content_length = len(body)
    response.call_on_close(then)
    return response
