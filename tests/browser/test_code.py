"""The shown programs run as they are, and send what the form says."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Request, expect

from tests.browser.conftest import OpenPage
from tests.browser.playground import FACE, Playground, wait_for_clipboard
from tests.browser.site import MODEL, PRICE, Site, serve_site
from tests.sdk.test_node_sdk import FOLDER as NODE_FOLDER
from tests.sdk.test_node_sdk import NODE
from tests.support.fake_minimax import FakeMinimax, Received, respond, success
from tests.support.images import data_url

LIVE = "MiniMax-Image-01-live"
AWKWARD = 'It\'s "quoted" – $HOME `id` \\n \\ %s ${x} 🦦\nsecond line <b>&amp;</b> !'
COMMANDS = {
    "curl": ("code.sh", ["bash"]),
    "Python": ("code.py", [sys.executable]),
    "Node": ("code.mjs", [str(NODE)]),
}
LANGUAGES = [
    pytest.param("curl", marks=pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing")),
    "Python",
    pytest.param(
        "Node",
        marks=pytest.mark.skipif(
            not (NODE_FOLDER / "node_modules" / "openai").is_dir(), reason="run scripts/install-test-tools"
        ),
    ),
]


class RecordingMinimax(FakeMinimax):
    """Draws what it is asked for, in the format it is asked for."""

    def respond_to(self, request: Received, connection: socket.socket) -> None:
        asked = request.json
        respond(success(asked["n"], response_format=asked["response_format"]))(connection)


@pytest.fixture(scope="module")
def minimax() -> Iterator[RecordingMinimax]:
    server = RecordingMinimax()
    yield server
    server.close()


@pytest.fixture(scope="module")
def recorded_site(
    minimax: RecordingMinimax, migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    variables = {
        "AMUX_ENABLED_MODELS": f"{MODEL},{LIVE}",
        "AMUX_PRICES": f"{MODEL}={PRICE},{LIVE}={PRICE}",
    }
    with serve_site(tmp_path_factory.mktemp("recorded"), migrated_sqlite, minimax.url, **variables) as site:
        yield site


@pytest.fixture
def page(open_page: OpenPage, recorded_site: Site) -> Page:
    return open_page(recorded_site.url, permissions=["clipboard-read", "clipboard-write"])


def copy_code(playground: Playground, language: str) -> str:
    """What "Copy code" puts on the clipboard."""
    shown = playground.show_code(language)
    playground.page.get_by_role("button", name="Copy code").click()
    return wait_for_clipboard(playground.page, lambda text: text.strip() == shown.strip())


def run_code(code: str, language: str, key: str, folder: Path) -> str:
    """Run a program as a reader would: in a folder with `face.jpg`, the key in the environment."""
    name, command = COMMANDS[language]
    (folder / name).write_text(code)
    shutil.copy(FACE, folder)
    if language == "Node":
        (folder / "node_modules").symlink_to(NODE_FOLDER / "node_modules")
    environment = {**os.environ, "AMUX_API_KEY": key, "NO_PROXY": "*"}
    done = subprocess.run([*command, name], cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def sent(minimax: RecordingMinimax) -> dict[str, Any]:
    """The newest request that MiniMax has received, without the format, which is the program's choice."""
    received: dict[str, Any] = json.loads(minimax.received[-1].body)
    del received["response_format"]
    return received


@pytest.mark.parametrize("language", LANGUAGES)
def test_text_to_image(
    page: Page, recorded_site: Site, minimax: RecordingMinimax, tmp_path: Path, language: str
) -> None:
    key = recorded_site.new_key()
    playground = Playground(page).open(key)
    playground.prompt.fill(AWKWARD)
    playground.choose_ratio("21:9")
    playground.number.fill("3")
    playground.seed.fill("-7")
    page.get_by_label("Optimize prompt").check()
    page.get_by_label("Watermark").check()
    code = copy_code(playground, language)
    assert key not in code
    run_code(code, language, key, tmp_path)
    assert sent(minimax) == {
        "model": "image-01",
        "prompt": AWKWARD,
        "aspect_ratio": "21:9",
        "n": 3,
        "seed": -7,
        "prompt_optimizer": True,
        "aigc_watermark": True,
    }


@pytest.mark.parametrize(
    ("model", "sent_model"),
    [("MiniMax-Image-01", "image-01"), (LIVE, "image-01-live")],
    ids=["edits", "a model without edits"],
)
@pytest.mark.parametrize("language", LANGUAGES)
def test_image_to_image(
    page: Page,
    recorded_site: Site,
    minimax: RecordingMinimax,
    tmp_path: Path,
    language: str,
    model: str,
    sent_model: str,
) -> None:
    key = recorded_site.new_key()
    playground = Playground(page).open(key)
    page.get_by_label("Model").select_option(model)
    playground.prompt.fill(AWKWARD)
    playground.seed.fill("-7")
    playground.choose_file()
    run_code(copy_code(playground, language), language, key, tmp_path)
    received = sent(minimax)
    assert (received["model"], received["prompt"], received["seed"]) == (sent_model, AWKWARD, -7)
    assert received["subject_reference"] == [{"type": "character", "image_file": data_url(FACE.read_bytes())}]


@pytest.mark.parametrize("language", LANGUAGES)
def test_image_to_image_by_url(
    page: Page, recorded_site: Site, minimax: RecordingMinimax, tmp_path: Path, language: str
) -> None:
    key = recorded_site.new_key()
    url = "https://images.example/face.jpg?a=1&b='2'"
    playground = Playground(page).open(key)
    playground.prompt.fill("The same person")
    playground.reference.get_by_role("textbox", name="Image URL").fill(url)
    run_code(copy_code(playground, language), language, key, tmp_path)
    assert sent(minimax)["subject_reference"] == [{"type": "character", "image_file": url}]


# By the model, and by what the reference is.
ENDPOINTS = {
    (MODEL, "file"): "edits",
    (MODEL, "url"): "generations",
    (LIVE, "file"): "generations",
    (LIVE, "url"): "generations",
}


@pytest.mark.parametrize(("model", "reference"), ENDPOINTS, ids=lambda value: value)
def test_the_page_and_the_code_make_the_same_call(
    page: Page, recorded_site: Site, minimax: RecordingMinimax, model: str, reference: str
) -> None:
    playground = Playground(page).open(recorded_site.new_key())
    page.get_by_label("Model").select_option(model)
    if reference == "file":
        playground.choose_file()
    else:
        playground.reference.get_by_role("textbox", name="Image URL").fill("https://images.example/face.jpg")
    with page.expect_request(is_call) as drawn:
        playground.draw("The same person")
    expect(playground.images).to_have_count(1)
    path = f"/v1/images/{ENDPOINTS[model, reference]}"
    assert drawn.value.url == f"{recorded_site.url}{path}/async"
    assert f"{recorded_site.url}{path}" in playground.show_code("curl")
    assert "subject_reference" in sent(minimax)


def is_call(request: Request) -> bool:
    return request.method == "POST"
