"""The playground's scripts hold some facts of the gateway, which must be the gateway's own."""

from __future__ import annotations

import re

from flask.testing import FlaskClient

from app.minimax.error_codes import STATUS_CODES, WITHOUT_CODE
from app.model_catalog import ASPECT_RATIOS, MODELS
from app.pages.page import FOLDER
from app.schemas.image_request_schema import MAX_PROMPT_CHARS

SCRIPTS = FOLDER / "assets" / "playground"
# Of the gateway itself, or of nginx, after a call that may have been sent.
UNKNOWN_TO_US = {"outcome_unknown", "internal_error", "gateway_interrupted", "gateway_timeout", "nginx_refused"}
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


def test_the_models_without_edits() -> None:
    [listed] = re.findall(r"WITHOUT_EDITS = \[(.*?)\];", source("endpoint.js"))
    assert strings(listed) == [model.id for model in MODELS if not model.supports_edits]


def test_the_codes_that_are_worth_another_try(client: FlaskClient) -> None:
    [listed] = re.findall(r"RETRIED = new Set\(\[(.*?)\]\);", source("task.js"), re.DOTALL)
    codes = client.get("/openapi.json").json["x-errorCodes"]  # type: ignore[index]
    retried = {code for code, entry in codes.items() if entry["should_retry"]}
    assert set(strings(listed)) == retried - NOT_OF_TASKS


def test_the_codes_of_calls_that_may_have_been_charged() -> None:
    [listed] = re.findall(r"MAY_COST = new Set\(\[(.*?)\]\);", source("../common/advice.js"), re.DOTALL)
    mappings = {str(code): mapping for code, mapping in STATUS_CODES.items()} | WITHOUT_CODE
    unknown = {code for code, mapping in mappings.items() if mapping.outcome_unknown}
    assert set(strings(listed)) == unknown | UNKNOWN_TO_US
