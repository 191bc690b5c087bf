"""`GET /v1/models` and `GET /v1/models/{id}`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from app.errors import ModelNotFound
from app.model_catalog import Model, find_model
from app.settings import Settings
from app.web.request_context import current_context

# OpenAI's format requires a date and MiniMax publishes none. This is the start of 2025, the year of image-01.
CREATED = 1735689600


def create_models_blueprint(settings: Settings, authenticate: Callable[[], None]) -> Blueprint:
    models = Blueprint("models", __name__, url_prefix="/v1/models")
    models.before_request(authenticate)

    @models.get("")
    def index() -> ResponseReturnValue:
        return jsonify({"object": "list", "data": [describe(model) for model in served()]})

    @models.get("/<model_id>")
    def show(model_id: str) -> ResponseReturnValue:
        model = find_model(model_id, settings.model_aliases)
        if model is None or model not in served():
            raise ModelNotFound(
                "This model does not exist, or this API key may not use it. See GET /v1/models.", param="model"
            )
        return jsonify(describe(model))

    def served() -> list[Model]:
        """The enabled models that this API key may use."""
        caller = current_context().known_caller
        return [model for model in settings.enabled_models if caller.may_use(model)]

    def describe(model: Model) -> dict[str, Any]:
        described = {"id": model.id, "object": "model", "created": CREATED, "owned_by": "minimax"}
        price = settings.prices.get(model.id)
        if price is None:
            return described
        return described | {"pricing": {"currency": settings.currency, "per_image_micro_units": price}}

    return models
