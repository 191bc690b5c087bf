"""Progress is true: a call that waits for its turn says so, one that is drawn says so, and a cancel ends both."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.playground import Playground
from tests.browser.site import BALANCE, MODEL, Site, serve_site
from tests.support.processes import UPSTREAM_KEY

DRAWING = re.compile(r"Drawing … [1-9]\d* s")
WAITING = re.compile(r"Waiting for a turn … [1-9]\d* s")


@pytest.fixture
def busy_site(tmp_path: Path, migrated_sqlite: Path, upstream_sandbox: str) -> Iterator[Site]:
    """A gateway with one call a minute, which is taken."""
    variables = {"MINIMAX_API_KEYS": f"{UPSTREAM_KEY}:1", "AMUX_QUEUE_SECONDS": "120"}
    with serve_site(tmp_path, migrated_sqlite, upstream_sandbox, **variables) as site:
        response = requests.post(
            f"{site.url}/v1/images/generations",
            json={"model": MODEL, "prompt": "The first"},
            headers={"Authorization": f"Bearer {site.new_key()}"},
            timeout=20,
        )
        response.raise_for_status()
        yield site


def balance(site: Site, key: str) -> int | None:
    return site.keys.get(key).balance


def test_a_call_that_is_drawn(page: Page, site: Site) -> None:
    playground = Playground(page).open(site.new_key())
    playground.draw("A pier sandbox:slow=8")
    expect(page.get_by_role("status").filter(has_text=DRAWING)).to_be_visible()
    expect(playground.images).to_have_count(1)
    expect(playground.cancel_button).to_be_hidden()
    expect(page.get_by_text(re.compile("Drawing|Waiting for"))).to_have_count(0)


def test_a_call_that_waits_and_is_cancelled_costs_nothing(open_page: OpenPage, busy_site: Site) -> None:
    key = busy_site.new_key()
    page = open_page(busy_site.url)
    playground = Playground(page).open(key)
    playground.draw("The second")
    expect(page.get_by_role("status").filter(has_text=WAITING)).to_be_visible()
    expect(page.get_by_text("Drawing")).to_have_count(0)
    playground.cancel_button.click()
    expect(playground.draw_button).to_be_enabled()
    expect(page.get_by_text("Waiting for a turn")).to_have_count(0)
    expect(playground.images).to_have_count(0)
    assert balance(busy_site, key) == BALANCE


def test_a_cancelled_drawing_leaves_the_page_usable(page: Page, site: Site) -> None:
    """MiniMax cannot be stopped: the page says that the image may still be charged."""
    playground = Playground(page).open(site.new_key())
    playground.draw("A pier sandbox:slow=15")
    expect(page.get_by_role("status").filter(has_text="Drawing")).to_be_visible()
    playground.cancel_button.click()
    expect(page.get_by_text(re.compile("charged"))).to_be_visible()
    playground.draw("Another pier")
    expect(playground.images).to_have_count(1)
    assert playground.images.first.get_attribute("alt") == "Another pier"
