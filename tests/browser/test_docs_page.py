"""`/docs`: the viewer shows the document, "Try it out" works with the key of the tab, or with one given there."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.accessibility import expect_accessible
from tests.browser.playground import Playground
from tests.browser.site import Site


def try_out(page: Page, operation: str) -> Locator:
    """Open an operation, execute it as it stands, and return what is shown of it."""
    shown = page.locator(f"[id$='-{operation}']")
    shown.get_by_role("button").first.click()
    shown.get_by_role("button", name="Try it out").click()
    shown.get_by_role("button", name="Execute").click()
    return shown


@pytest.mark.parametrize(
    ("operation", "returned"), [("listModels", '"pricing"'), ("createImage", '"created"')], ids=["models", "image"]
)
def test_a_call_with_the_key_of_the_tab(page: Page, site: Site, operation: str, returned: str) -> None:
    Playground(page).open(site.new_key())
    page.get_by_role("link", name="Docs").click()
    expect(page.get_by_text("uses the API key of this tab")).to_be_visible()
    response = try_out(page, operation).locator(".live-responses-table")
    expect(response).to_contain_text("200")
    expect(response).to_contain_text(returned)


def test_a_key_given_on_the_page(page: Page, site: Site) -> None:
    page.goto("/docs")
    page.get_by_role("button", name="Authorize").first.click()
    dialog = page.locator(".dialog-ux")
    dialog.get_by_role("textbox").fill(site.new_key())
    dialog.get_by_role("button", name="Apply").click()
    dialog.get_by_role("button", name="Close", exact=True).click()
    shown = try_out(page, "getUsage")
    expect(shown.locator(".live-responses-table")).to_contain_text('"balance"')
    assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]


def test_an_open_operation_is_accessible_and_holds_the_example(page: Page) -> None:
    page.goto("/docs")
    shown = page.locator("[id$='-createImageEdit']")
    shown.get_by_role("button").first.click()
    shown.get_by_role("button", name="Try it out").click()
    prompt = shown.locator("[data-property-name=prompt]").get_by_role("textbox")
    expect(prompt).to_have_value("A lighthouse at dusk")
    expect_accessible(page)
