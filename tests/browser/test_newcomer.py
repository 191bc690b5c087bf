"""A newcomer's whole way: open the printed URL, draw, see what it cost, take the code, come back."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.playground import Playground, size_of
from tests.browser.site import Site
from tests.integration.test_run import running

PROMPT = "A lighthouse at dusk"


def test_the_url_that_make_run_prints_leads_to_an_image(open_page: OpenPage, tmp_path: Path) -> None:
    with running(tmp_path) as run:
        [url] = re.findall(rf"{re.escape(run.url)}/#key=\S+", run.printed)
        playground = Playground(open_page(run.url))
        playground.page.goto(url)
        playground.draw(PROMPT)
        expect(playground.images).to_have_count(1)
        assert min(size_of(playground.images)) > 0


def test_from_the_key_to_the_code(open_page: OpenPage, site: Site) -> None:
    page = open_page()
    page.goto("/")
    playground = Playground(page)
    playground.use_key(site.new_key())
    playground.prompt.fill(PROMPT)
    expect(page.get_by_text(f"{len(PROMPT)} / 1500")).to_be_visible()
    playground.number.fill("2")
    expect(page.get_by_text("0.02 USD")).to_be_visible()

    playground.draw_button.click()
    expect(playground.images).to_have_count(2)
    assert [size_of(image) for image in playground.images.all()] == [(1024, 1024)] * 2
    assert playground.images.first.get_attribute("alt") == PROMPT
    expect(page.get_by_role("status").filter(has_text="0.98 USD")).to_be_visible()

    for language in ("curl", "Python", "Node"):
        assert PROMPT in playground.show_code(language)


def test_a_reload_keeps_the_key_and_the_history(open_page: OpenPage, site: Site) -> None:
    """The key leaves the address bar at once, and the history is in the browser only."""
    page = open_page()
    key = site.new_key()
    playground = Playground(page).open(key)
    assert key not in page.url
    playground.draw(PROMPT)
    expect(playground.history.get_by_role("img")).to_have_count(1)  # images are shown before they are stored
    page.reload()
    expect(playground.history.get_by_role("img")).to_have_count(1)
    playground.draw("Another lighthouse")
    expect(playground.history.get_by_role("img")).to_have_count(2)

    other_tab = page.context.new_page()
    other_tab.goto("/")
    expect(other_tab.get_by_label("API key")).to_have_value("")
    expect(Playground(other_tab).history.get_by_role("img")).to_have_count(2)

    playground.history.get_by_role("button", name="Clear history").click()
    expect(playground.history.get_by_role("img")).to_have_count(0)
    expect(page.get_by_role("heading", name="History")).to_be_focused()
    expect(Playground(other_tab).history.get_by_role("img")).to_have_count(0)
    page.reload()
    expect(playground.draw_button).to_be_visible()
    expect(playground.history.get_by_role("img")).to_have_count(0)


def test_the_url_of_another_key_is_opened_in_the_same_tab(page: Page, site: Site) -> None:
    """Browsers do not load the page again for it. Its key replaces the one before, and leaves the address bar."""
    first, second = site.new_key(), site.new_key()
    Playground(page).open(first)
    page.evaluate("key => { location.hash = `key=${key}`; }", second)
    expect(page.get_by_label("API key")).to_have_value(second)
    assert second not in page.url
