"""Fault injection: words in the prompt make the sandbox fail as MiniMax may."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
from flask.testing import FlaskClient

from app.sandbox.fault_injection import InjectedFaults, UnknownFault
from tests.sandbox.conftest import Draw
from tests.support import processes
from tests.support.processes import UPSTREAM_KEY

AUTH = {"Authorization": f"Bearer {UPSTREAM_KEY}"}


def body(prompt: str, **more: Any) -> dict[str, Any]:
    return {"model": "image-01", "prompt": prompt, **more}


@pytest.mark.parametrize("code", [1000, 1002, 1004, 1008, 1026, 1027, 1033, 2013, 2049, 2056, 20132, 7])
def test_any_code_can_be_injected(draw: Draw, code: int) -> None:
    response = draw(prompt=f"A harbour, sandbox:{code}, please")
    assert response["base_resp"]["status_code"] == code
    assert response["base_resp"]["status_msg"]
    assert "data" not in response


@pytest.mark.parametrize(("withheld", "delivered"), [("", 2), ("=1", 2), ("=2", 1), ("=3", 0), ("=9", 0)])
def test_some_images_are_withheld(draw: Draw, withheld: str, delivered: int) -> None:
    """The response has code 0, fewer images, and the others in `failed_count`."""
    response = draw(prompt=f"sandbox:withheld{withheld}", n=3)
    assert response["base_resp"]["status_code"] == 0
    assert len(response["data"]["image_base64"]) == delivered
    assert response["metadata"] == {"success_count": str(delivered), "failed_count": str(3 - delivered)}


def test_html_fault_is_a_502_with_html(sandbox: FlaskClient) -> None:
    response = sandbox.post("/v1/image_generation", json=body("sandbox:html"))
    assert (response.status_code, response.mimetype) == (502, "text/html")
    assert response.text.startswith("<html>")


def test_slow_fault_delays_the_response(sandbox: FlaskClient) -> None:
    started = time.monotonic()
    assert sandbox.post("/v1/image_generation", json=body("sandbox:slow=0.3")).status_code == 200
    assert time.monotonic() - started >= 0.3


def test_faults_of_an_invalid_request_are_not_injected(draw: Draw) -> None:
    assert draw(prompt="sandbox:1026", n=10)["base_resp"]["status_code"] == 2013


@pytest.mark.parametrize(
    ("prompt", "faults"),
    [
        ("a harbour", InjectedFaults()),
        ("sandbox: 1026", InjectedFaults()),
        ("sandbox:", InjectedFaults()),
        ("sandbox:slow", InjectedFaults(slow=1)),
        ("sandbox:slow=2.5.", InjectedFaults(slow=2.5)),
        ("sandbox:slow=1 sandbox:half", InjectedFaults(slow=1, fault="half")),
        ("sandbox:withheld=2, sandbox:slow=3", InjectedFaults(slow=3, withheld=2)),
        ("sandbox:slow=1 sandbox:1002", InjectedFaults(slow=1, code=1002)),
        ("(sandbox:half)", InjectedFaults(fault="half")),
    ],
)
def test_fault_words_are_found_anywhere_in_the_prompt(prompt: str, faults: InjectedFaults) -> None:
    assert InjectedFaults.of(prompt) == faults


@pytest.mark.parametrize("word", ["nonsense=3", "123456", "slow=abc", "slow=-1", "half=2", "1026x", "html-5", "٣"])
def test_a_misspelt_word_is_rejected(draw: Draw, word: str) -> None:
    rejected = draw(prompt=f"A harbour, sandbox:{word}, please")["base_resp"]
    assert rejected == {"status_code": 2013, "status_msg": f"invalid params, {UnknownFault()}"}


@pytest.mark.parametrize(
    ("fault", "words"), [("reset", "[Rr]eset"), ("half", "[Ii]ncompleteRead|[Rr]eset|prematurely|end of file")]
)
def test_the_connection_breaks_and_the_next_call_succeeds(sandbox_url: str, fault: str, words: str) -> None:
    with pytest.raises(requests.RequestException, match=words):
        requests.post(f"{sandbox_url}/v1/image_generation", json=body(f"sandbox:{fault}"), headers=AUTH, timeout=10)
    response = requests.post(f"{sandbox_url}/v1/image_generation", json=body("and on"), headers=AUTH, timeout=10)
    assert response.json()["base_resp"]["status_code"] == 0


def test_broken_connections_do_not_disturb_gunicorn(tmp_path: Path) -> None:
    """gunicorn logs nothing, loses no connection, and stops gracefully."""
    with processes.sandbox(tmp_path) as served, ExitStack() as stack:
        session = stack.enter_context(requests.Session())
        for fault in ("reset", "half") * 4:
            with pytest.raises(requests.RequestException):
                session.post(
                    f"{served.url}/v1/image_generation", json=body(f"sandbox:{fault}"), headers=AUTH, timeout=10
                )
        response = session.post(f"{served.url}/v1/image_generation", json=body("and on"), headers=AUTH, timeout=10)
        assert response.json()["base_resp"]["status_code"] == 0
        assert served.stop() == 0
    assert served.log.read_text() == ""


def test_through_the_gateway_every_fault_is_an_error_envelope(served: processes.Served) -> None:
    expected = {
        "1026": (403, "1026"),
        "1002": (429, "1002"),
        "html": (502, "upstream_invalid_answer"),
        "reset": (502, "upstream_interrupted"),
        "half": (502, "upstream_interrupted"),
        "withheld": (403, "content_withheld"),
    }
    for word, (status, code) in expected.items():
        response = requests.post(
            f"{served.url}/v1/images/generations",
            json={"model": "MiniMax-Image-01", "prompt": f"sandbox:{word}"},
            headers={"Authorization": f"Bearer {processes.API_KEY}"},
            timeout=30,
        )
        assert (response.status_code, response.json()["error"]["code"]) == (status, code)


@pytest.mark.parametrize("word", ["slow=abc", "withheld=many", "1026x"])
def test_through_the_gateway_a_misspelt_word_is_named_as_the_error(served: processes.Served, word: str) -> None:
    response = requests.post(
        f"{served.url}/v1/images/generations",
        json={"model": "MiniMax-Image-01", "prompt": f"sandbox:{word}"},
        headers={"Authorization": f"Bearer {processes.API_KEY}"},
        timeout=30,
    )
    assert response.status_code == 400
    assert str(UnknownFault()) in response.json()["error"]["message"]
