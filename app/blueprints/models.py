"""Owns `GET /v1/models` and `GET /v1/models/{id}`: clients list them before they draw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from app.errors import ModelNotFound
from app.model_catalog import Model, find_model
from app.settings import Settings
from app.web.request_context import current_context

# OpenAI's shape wants a date and MiniMax publishes none: the start of 2025, the year of image-01.
CREATED = 1735689600


def create_models_blueprint(settings: Settings, authenticate: Callable[[], None]) -> Blueprint:
    models = Blueprint("models", __name__, url_prefix="/v1/models")
    models.before_request(authenticate)

    @models.get("")
    def index() -> ResponseReturnValue:
        return jsonify({"object": "list", "data": [_describe(model) for model in served()]})

    @models.get("/<model_id>")
    def show(model_id: str) -> ResponseReturnValue:
        model = find_model(model_id, settings.model_aliases)
        if model is None or model not in served():
            raise ModelNotFound("There is no such model here: see GET /v1/models.", param="model")
        return jsonify(_describe(model))

    def served() -> list[Model]:
        """What this key may use of what is enabled."""
        caller = current_context().known_caller
        return [model for model in settings.enabled_models if caller.may_use(model)]

    return models


def _describe(model: Model) -> dict[str, Any]:
    return {"id": model.id, "object": "model", "created": CREATED, "owned_by": "minimax"}
