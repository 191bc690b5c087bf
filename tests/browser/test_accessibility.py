"""Every page is accessible by axe's rules, works from the keyboard, and fits a phone."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from app.pages.page import PAGES
from tests.browser.accessibility import expect_accessible, expect_no_sideways_scroll
from tests.browser.conftest import OpenPage
from tests.browser.loading import open_loaded
from tests.browser.playground import Playground
from tests.browser.site import Site

PATHS = [page.path for page in PAGES]
PHONE = {"viewport": {"width": 320, "height": 640}, "has_touch": True}


@pytest.mark.parametrize("path", PATHS)
def test_a_page_without_a_key(open_page: OpenPage, path: str) -> None:
    page = open_page()
    open_loaded(page, path)
    expect_accessible(page)
    page.set_viewport_size(PHONE["viewport"])  # type: ignore[arg-type]
    expect_no_sideways_scroll(page)


def test_the_playground_with_images_and_an_error(open_page: OpenPage, site: Site) -> None:
    page = open_page(**PHONE)
    playground = Playground(page).open(site.new_key())
    playground.choose_file()
    playground.number.fill("2")
    playground.draw("An-unbroken-word-of-a-prompt-" * 12)
    expect(playground.images).to_have_count(2)
    playground.draw("sandbox:1026")
    expect(playground.error).to_be_visible()
    for language in ("curl", "Python", "Node"):
        playground.show_code(language)
        expect_no_sideways_scroll(page)
    expect_accessible(page)


def test_an_image_from_the_keyboard(page: Page, site: Site) -> None:
    """Tab reaches each control in its order, arrows choose the ratio, Enter draws."""
    page.goto("/")
    reach(page, "API key")
    page.keyboard.insert_text(site.new_key())
    page.keyboard.press("Enter")
    reach(page, "Prompt")
    page.keyboard.insert_text("A pier")
    reach(page, "1:1")
    page.keyboard.press("ArrowRight")
    reach(page, "Draw")
    page.keyboard.press("Enter")
    image = Playground(page).images
    expect(image).to_have_count(1)
    width, height = image.evaluate("image => image.decode().then(() => [image.naturalWidth, image.naturalHeight])")
    assert width > height
    reach(page, "Download")
    reach(page, "curl")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Python")).to_be_focused()
    expect(page.get_by_role("tab", name="Python")).to_have_attribute("aria-selected", "true")


# The accessible name of the focused element, as far as the page gives it by a label, an aria-label or its text.
FOCUSED = """() => {
  const element = document.activeElement;
  const label = element.labels?.[0]?.textContent ?? element.getAttribute('aria-label') ?? element.textContent;
  return label.trim();
}"""


def reach(page: Page, name: str) -> None:
    """Press Tab until the element with this name has the focus."""
    seen = []
    for _ in range(40):
        page.keyboard.press("Tab")
        seen.append(page.evaluate(FOCUSED))
        if seen[-1].startswith(name):
            return
    raise AssertionError(f"Tab does not reach {name!r}, but {seen}")
