"""nginx's error codes and messages: consistent in themselves, and equal to the gateway's for the same error."""

from __future__ import annotations

import re
import shlex

import pytest
from flask.testing import FlaskClient

from app.server.protocol_errors import PROTOCOL_ERRORS, ProtocolError
from app.web.body_limits import MAX_BODY_BYTES
from tests.integration.raw_http import GENERATIONS
from tests.support.nginx import SHIPPED

# nginx passes Expect headers on, so 417 is never its own.
NGINX_TOO = [refusal for refusal in PROTOCOL_ERRORS.values() if refusal.status != 417]


def read_maps() -> dict[str, dict[str, str]]:
    """The contents of each `map`, by the variable that it sets."""
    maps = re.findall(r"^map [^\n]+ \$(\w+) \{\n(.*?)^\}", SHIPPED.read_text(), re.DOTALL | re.MULTILINE)
    lines = {
        name: [words for line in inside.splitlines() if (words := shlex.split(line, comments=True))]
        for name, inside in maps
    }
    return {name: {key: value.removesuffix(";") for key, value in each} for name, each in lines.items()}


MAPS = read_maps()


def nginx_codes() -> dict[str, set[tuple[str, bool]]]:
    """By code: the statuses that nginx sends with it, and whether a retry is safe."""
    retry, codes = MAPS["amux_should_retry"], dict[str, set[tuple[str, bool]]]()
    for status, code in MAPS["amux_code"].items():
        # If no instance was called, the key is the status alone.
        by_retry = MAPS.get(code.removeprefix("$")) or {retry.get(f"{status} ", retry["default"]): code}
        for should_retry, each in by_retry.items():
            codes.setdefault(each, set()).add((status, should_retry == "true"))
    return codes


@pytest.mark.parametrize("suffix", ["", "_502", "_504"])
def test_every_code_has_a_message(suffix: str) -> None:
    assert list(MAPS[f"amux_code{suffix}"]) == list(MAPS[f"amux_message{suffix}"])


def test_each_code_is_always_or_never_retried() -> None:
    for code, cases in nginx_codes().items():
        assert len({retry for _, retry in cases}) == 1, code


@pytest.mark.parametrize("refusal", NGINX_TOO, ids=lambda refusal: refusal.code)
def test_malformed_requests_have_the_gateways_code_and_message(refusal: ProtocolError) -> None:
    status = str(refusal.status)
    assert (MAPS["amux_code"][status], MAPS["amux_message"][status]) == (refusal.code, refusal.message)


def test_a_too_large_body_has_the_gateways_code_and_message(client: FlaskClient) -> None:
    response = client.post(GENERATIONS, data=bytes(MAX_BODY_BYTES + 1), content_type="application/json")
    error = response.get_json()["error"]
    assert (MAPS["amux_code"]["413"], MAPS["amux_message"]["413"]) == (error["code"], error["message"])
