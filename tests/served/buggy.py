"""The gateway with a bug in it, for `gunicorn tests.served.buggy:app`: some prompts break it, and are quoted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app import create_app
from app.config import Settings
from app.logs import configure_logging
from app.minimax.answer import Answer
from app.minimax.client import MinimaxClient
from tests.served.wire import BUG


class BuggyMinimax:
    def __init__(self, client: MinimaxClient) -> None:
        self._client = client

    def generate_images(self, payload: Mapping[str, Any]) -> Answer:
        if payload["prompt"].startswith(BUG):
            try:
                raise ValueError(f"cannot handle {payload['prompt']}", payload)
            except ValueError as error:
                raise RuntimeError(f"failed with {payload!r}") from error
        return self._client.generate_images(payload)


settings = Settings.from_env()
configure_logging(settings.log_level)
client = MinimaxClient(settings.minimax_base_url, settings.minimax_api_key, settings.minimax_timeout_seconds)
app = create_app(settings, BuggyMinimax(client))
