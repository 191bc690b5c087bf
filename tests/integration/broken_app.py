"""A gateway with a bug, for `gunicorn tests.integration.broken_app:app`: some prompts raise errors that quote them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app import create_app
from app.minimax.client import MinimaxClient
from app.server.json_logging import configure_logging
from app.services.image_request import ImageResult
from app.settings import Settings
from tests.integration.raw_http import BUG


class BuggyMinimax:
    def __init__(self, client: MinimaxClient) -> None:
        self._client = client

    def generate_images(self, payload: Mapping[str, Any], api_key: str) -> ImageResult:
        if payload["prompt"].startswith(BUG):
            try:
                raise ValueError(f"cannot handle {payload['prompt']}", payload)
            except ValueError as error:
                raise RuntimeError(f"failed with {payload!r}") from error
        return self._client.generate_images(payload, api_key)


settings = Settings.from_env()
configure_logging(settings.log_level)
client = MinimaxClient(settings.minimax_base_url, settings.minimax_timeout_seconds)
app = create_app(settings, BuggyMinimax(client))
