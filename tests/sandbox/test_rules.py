"""The sandbox rejects what MiniMax's documentation does not allow, as MiniMax does: HTTP 200 and a code."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.sandbox.conftest import Draw
from tests.support.images import GIF, JPEG, PNG, WEBP, data_url
from tests.support.processes import ROOT, UPSTREAM_KEY

STYLE = {"style_type": "水彩", "style_weight": 0.8}
MB = 1024 * 1024


def reference(image_file: Any, **more: Any) -> list[dict[str, Any]]:
    return [{"type": "character", "image_file": image_file, **more}]


def image_of(size: int) -> str:
    return data_url(JPEG.ljust(size, b"\0"))


def code(document: Any) -> int:
    status_code = document["base_resp"]["status_code"]
    assert type(status_code) is int
    assert (status_code == 0) == ("data" in document)
    return status_code


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Bearer wrong", f"bearer {UPSTREAM_KEY}", UPSTREAM_KEY, f"Bearer {UPSTREAM_KEY} "],
)
def test_a_wrong_key_is_1004_for_any_body(sandbox: FlaskClient, header: str) -> None:
    """HTTP servers strip white space around a header's value; a test client does not."""
    for body in ({}, {"model": "image-01", "prompt": "a"}):
        response = sandbox.post("/v1/image_generation", json=body, headers={"Authorization": header})
        assert response.status_code == 200
        assert code(response.get_json()) == 1004
        assert UPSTREAM_KEY not in response.text


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"model": "image-01-live"},
        {"prompt": "水" * 1500},
        {"prompt": "🦦" * 1500},
        {"n": 1},
        {"n": 9},
        {"response_format": None},
        {"response_format": "url"},
        {"seed": -(2**63)},
        {"seed": 2**63 - 1},
        {"prompt_optimizer": False, "aigc_watermark": True},
        {"style": STYLE},
        {"style": {"style_type": "漫画", "style_weight": 1}},
        {"style": {"style_type": "元气"}},
        {"width": 512, "height": 2048},
        {"width": 1024, "height": 1024, "aspect_ratio": "1:1"},
        {"subject_reference": reference("https://faces.example/a.jpg?b=c")},
        {"subject_reference": reference(data_url(JPEG))},
        {"subject_reference": reference(data_url(PNG, "image/png"))},
        {"subject_reference": reference(image_of(10 * MB - 1))},
    ],
    ids=lambda fields: str(fields)[:60],
)
def test_documented_values_are_accepted(draw: Draw, fields: dict[str, Any]) -> None:
    assert code(draw(**fields)) == 0


WRONG: list[dict[str, Any]] = [
    {"model": None},
    {"model": "MiniMax-Image-01"},
    {"model": "IMAGE-01"},
    {"model": 1},
    {"prompt": None},
    {"prompt": ""},
    {"prompt": "a" * 1501},
    {"prompt": ["a"]},
    {"prompt": "\ud800"},
    *({"n": n} for n in (0, 10, -1, "1", 1.0, True)),
    *({"aspect_ratio": ratio} for ratio in ("", "1:2", "16:10", "1024x1024", "auto", 1)),
    *({"response_format": name} for name in ("b64_json", "", "URL", 1)),
    *({"seed": seed} for seed in (2**63, -(2**63) - 1, "1", 1.5, True)),
    {"prompt_optimizer": "true"},
    {"prompt_optimizer": 1},
    {"aigc_watermark": "false"},
    {"watermark": True},
    {"size": "1024x1024"},
    {"style": "vivid"},
    {"style": {}},
    {"style": {"style_type": "watercolor"}},
    {"style": STYLE | {"strength": 1}},
    *({"style": STYLE | {"style_weight": weight}} for weight in (0, 1.01, -1, "0.5", True)),
    {"width": 1024},
    {"height": 1024},
    *({"width": 1024, "height": side} for side in (511, 504, 2056, 1028, "1024", 1024.0)),
    {"model": "image-01-live", "width": 1024, "height": 1024},
    {"model": "image-01-live", "aspect_ratio": "21:9"},
    {"subject_reference": []},
    {"subject_reference": "https://faces.example/a.jpg"},
    {"subject_reference": reference(data_url()) * 2},
    {"subject_reference": [{"type": "character"}]},
    {"subject_reference": [{"image_file": data_url()}]},
    {"subject_reference": [{"type": "object", "image_file": data_url()}]},
    {"subject_reference": reference(data_url(), name="a")},
    *(
        {"subject_reference": reference(value)}
        for value in ("", "a.jpg", "ftp://a.example/b", "http://", 1, [data_url()])
    ),
    {"subject_reference": reference(data_url(GIF, "image/gif"))},
    {"subject_reference": reference(data_url(WEBP, "image/jpeg"))},
    {"subject_reference": reference(data_url(PNG, "image/jpeg"))},
    {"subject_reference": reference("data:image/jpeg;base64,****")},
    {"subject_reference": reference("data:image/jpeg," + base64.b64encode(JPEG).decode())},
    {"subject_reference": reference(base64.b64encode(JPEG).decode())},
    {"subject_reference": reference(image_of(10 * MB))},
]


@pytest.mark.parametrize("fields", WRONG, ids=lambda fields: ascii(fields)[:60])
def test_undocumented_values_are_2013(draw: Draw, fields: dict[str, Any]) -> None:
    response = draw(**fields)
    assert code(response) == 2013
    assert response["base_resp"]["status_msg"].startswith("invalid params")


@pytest.mark.parametrize(
    "name", ["n", "aspect_ratio", "seed", "style", "subject_reference", "width", "response_format"]
)
def test_null_is_2013(sandbox: FlaskClient, name: str) -> None:
    """The gateway never sends null for an absent field."""
    response = sandbox.post("/v1/image_generation", json={"model": "image-01", "prompt": "a", name: None})
    assert code(response.get_json()) == 2013


@pytest.mark.parametrize("weight", ["NaN", "Infinity"])
def test_a_weight_that_is_not_a_json_number_is_2013(sandbox: FlaskClient, weight: str) -> None:
    body = json.dumps({"model": "image-01", "prompt": "a", "style": STYLE | {"style_weight": 0.25}}).replace(
        "0.25", weight
    )
    assert code(sandbox.post("/v1/image_generation", data=body, content_type="application/json").get_json()) == 2013


@pytest.mark.parametrize(
    ("body", "kind"), [(b"", "application/json"), (b"{", "application/json"), (b"[]", "application/json"), (b"a=b", "")]
)
def test_a_body_that_is_not_a_json_object_is_2013(sandbox: FlaskClient, body: bytes, kind: str) -> None:
    response = sandbox.post("/v1/image_generation", data=body, content_type=kind)
    assert response.status_code == 200
    assert code(response.get_json()) == 2013


# Imports


def test_the_gateway_imports_neither_pillow_nor_the_sandbox(tmp_path: Path) -> None:
    script = """
import sys, wsgi
print([name for name in sys.modules if name.split(".")[0] == "PIL" or name.startswith("app.sandbox")])
print("app.minimax.client" in sys.modules)
"""
    variables = {"AMUX_API_KEYS": "a", "MINIMAX_API_KEY": "b", "AMUX_STATE_FOLDER": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=variables, capture_output=True, text=True)
    logged, *printed = done.stdout.splitlines()
    assert "Upstream keys: " in logged
    assert printed == ["[]", "True"], done.stderr


def test_the_sandbox_imports_nothing_of_the_gateway_but_the_model_catalog() -> None:
    """Each checks the other. Importing any module also imports the package's own `__init__`."""
    sources = (ROOT / "app" / "sandbox").glob("*.py")
    imports = [line for source in sources for line in source.read_text().splitlines() if "import" in line.split()[:3]]
    ours = [line for line in imports if "app" in line.replace(".", " ").split()]
    assert ours
    assert [line for line in ours if "app.sandbox" not in line and "app.model_catalog" not in line] == []


def test_the_gateway_does_not_require_pillow() -> None:
    assert "pillow" not in (ROOT / "requirements.txt").read_text().lower()
    assert "pillow==" in (ROOT / "requirements-dev.txt").read_text().lower()
