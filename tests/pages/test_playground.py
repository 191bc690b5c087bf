"""The playground's scripts hold some facts of the gateway, which must be the gateway's own."""

from __future__ import annotations

import re

from flask.testing import FlaskClient

from app.model_catalog import ASPECT_RATIOS
from app.pages.page import FOLDER
from app.schemas.image_request_schema import MAX_PROMPT_CHARS

SCRIPTS = FOLDER / "assets" / "playground"
# Of requests that begin no task, or that are rejected before one.
NOT_OF_TASKS = {"rate_limit_exceeded", "usage_busy"}


def source(name: str) -> str:
    return (SCRIPTS / name).read_text()


def strings(text: str) -> list[str]:
    return re.findall(r'"([^"]+)"', text)


def test_the_longest_prompt() -> None:
    assert f"MAX_PROMPT = {MAX_PROMPT_CHARS};" in source("form.js")


def test_the_aspect_ratios() -> None:
    [listed] = re.findall(r"RATIOS = \[(.*?)\]", source("ratios.js"))
    assert sorted(strings(listed)) == sorted(ASPECT_RATIOS)


def test_the_codes_that_are_worth_another_try(client: FlaskClient) -> None:
    [listed] = re.findall(r"RETRIED = new Set\(\[(.*?)\]\);", source("task.js"), re.DOTALL)
    codes = client.get("/openapi.json").json["x-errorCodes"]  # type: ignore[index]
    retried = {code for code, entry in codes.items() if entry["should_retry"]}
    assert set(strings(listed)) == retried - NOT_OF_TASKS
