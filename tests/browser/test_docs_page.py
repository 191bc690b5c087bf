"""`/docs`: the viewer shows the document, "Try it out" works with the key of the tab, or with one given there."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.accessibility import expect_accessible, expect_no_sideways_scroll
from tests.browser.conftest import OpenPage
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
    expect(page.get_by_role("status")).to_contain_text("needs an API key")
    page.get_by_role("button", name="Authorize").first.click()
    dialog = page.locator(".dialog-ux")
    dialog.get_by_role("textbox").fill(site.new_key())
    dialog.get_by_role("button", name="Apply").click()
    dialog.get_by_role("button", name="Close", exact=True).click()
    expect(page.get_by_role("status")).to_have_text("“Try it out” uses the API key that you gave with “Authorize”.")
    shown = try_out(page, "getUsage")
    expect(shown.locator(".live-responses-table")).to_contain_text('"balance"')
    assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
    page.get_by_role("button", name="Authorize").first.click()
    dialog.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("needs an API key")).to_be_visible()


@pytest.mark.parametrize(("width", "most"), [(1280, 7_000), (390, 11_000), (320, 12_000)])
def test_an_open_operation_is_short_and_its_words_are_whole(open_page: OpenPage, width: int, most: int) -> None:
    """Names of fields and headers are in one line each. 16 headers of 18 errors are folded."""
    page = open_page(viewport={"width": width, "height": 800})
    page.goto("/docs")
    shown = page.locator("[id$='-createImageEdit']")
    shown.get_by_role("button").first.click()
    error = shown.locator("tr[data-code='429']")
    expect(error).to_contain_text("rate_limit_exceeded")
    expect(error.locator("table.headers")).not_to_be_visible()
    assert shown.evaluate("element => element.offsetHeight") < most
    error.locator("summary").click()
    expect(error.locator("table.headers")).to_contain_text("x-should-retry")
    names = shown.locator(".parameter__name").all() + error.locator("tbody .header-col:first-child").all()
    names += error.locator("tbody .header-col:last-child").all()
    assert len(names) > 40
    assert [name.inner_text() for name in names if lines_of(name) != 1] == []
    expect_no_sideways_scroll(page)
    expect_accessible(page)


def lines_of(element: Locator) -> int:
    """In how many lines the element's first text is."""
    return int(
        element.evaluate(
            """element => {
              const range = document.createRange();
              range.selectNodeContents(element.firstChild);
              return new Set([...range.getClientRects()].map(each => Math.round(each.top))).size;
            }"""
        )
    )


@pytest.mark.parametrize(
    ("field", "rule"),
    [("prompt", "1 to 1500 characters."), ("n", "1 to 9. Default: 1."), ("style_weight", "Above 0, up to 1.")],
)
def test_a_field_of_the_form_has_its_rule(page: Page, field: str, rule: str) -> None:
    page.goto("/docs")
    shown = page.locator("[id$='-createImageEdit']")
    shown.get_by_role("button").first.click()
    expect(shown.locator(f"[data-property-name={field}]")).to_contain_text(rule)


def test_an_open_operation_is_accessible_and_holds_the_example(page: Page) -> None:
    page.goto("/docs")
    shown = page.locator("[id$='-createImageEdit']")
    shown.get_by_role("button").first.click()
    shown.get_by_role("button", name="Try it out").click()
    prompt = shown.locator("[data-property-name=prompt]").get_by_role("textbox")
    expect(prompt).to_have_value("A lighthouse at dusk")
    expect_accessible(page)


def test_the_schema_of_a_body_is_accessible(page: Page) -> None:
    page.goto("/docs")
    shown = page.locator("[id$='-createImage']")
    shown.get_by_role("button").first.click()
    shown.get_by_role("tab", name="Schema").first.click()
    expect(shown.get_by_text("[1, 1500] characters")).to_be_visible()
    expect_accessible(page)
