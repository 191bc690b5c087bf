"""What has happened is in view, wherever the page is scrolled to, and the focus is where one can go on."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, ViewportSize, expect

from tests.browser.playground import Playground, wait_until_in_view
from tests.browser.site import Site

WINDOWS: dict[str, ViewportSize] = {
    "desktop": {"width": 1280, "height": 720},
    "phone": {"width": 390, "height": 800},
    "small phone": {"width": 320, "height": 640},
}


@pytest.fixture(params=WINDOWS)
def playground(page: Page, site: Site, request: pytest.FixtureRequest) -> Playground:
    """With a reference image, which makes the form longer than any window."""
    page.set_viewport_size(WINDOWS[request.param])
    playground = Playground(page).open(site.new_key())
    playground.choose_file()
    expect(playground.reference.get_by_role("img")).to_be_visible()
    return playground


def test_an_error_comes_into_view_without_the_focus(playground: Playground) -> None:
    playground.prompt.fill("sandbox:1026")
    playground.reference.get_by_role("textbox", name="Image URL").scroll_into_view_if_needed()
    playground.draw_button.click()
    expect(playground.draw_button).to_be_visible()
    wait_until_in_view(playground.error)
    expect(playground.draw_button).to_be_focused()


def test_the_fault_of_a_field_comes_into_view(playground: Playground) -> None:
    playground.prompt.fill("")
    playground.draw_button.click()
    expect(playground.draw_button).to_be_visible()
    expect(playground.prompt).to_be_focused()
    wait_until_in_view(playground.page.locator("form p", has_text="must not be empty"))


def test_the_request_for_a_key_comes_into_view(playground: Playground) -> None:
    playground.page.get_by_role("button", name="Forget key").click()
    playground.draw("A pier")
    wait_until_in_view(playground.error)
    expect(playground.page.get_by_label("API key")).to_be_focused()


def test_images_come_into_view(playground: Playground) -> None:
    playground.prompt.fill("A pier")
    playground.reference.get_by_role("textbox", name="Image URL").scroll_into_view_if_needed()
    playground.draw_button.click()
    expect(playground.draw_button).to_be_visible()
    wait_until_in_view(playground.page.get_by_role("heading", name="Images"))
