"""Opens a page without a key, and waits until its scripts have shown what they show then."""

from __future__ import annotations

from playwright.sync_api import Page, expect

# By path: the last thing that the page's scripts show.
LAST_TEXTS = {
    "/": "There is nothing yet.",
    "/usage": "Enter an API key to see its usage.",
    "/docs": "“Try it out” needs an API key",
}


def open_loaded(page: Page, path: str) -> None:
    page.goto(path)
    expect(page.get_by_text(LAST_TEXTS[path])).to_be_visible()
    page.wait_for_load_state("networkidle")
