"""Every page: it loads from its own origin only, without errors."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from app.pages.page import PAGES
from tests.browser.site import Site
from tests.browser.watch import Watch

PATHS = [page.path for page in PAGES]


@pytest.mark.parametrize("path", PATHS)
def test_a_page_loads_and_leads_to_the_others(page: Page, path: str) -> None:
    page.goto(path)
    expect(page.get_by_role("heading", level=1).first).to_be_visible()
    page.wait_for_load_state("networkidle")
    links = page.get_by_role("navigation", name="Pages").get_by_role("link")
    assert [link.get_attribute("href") for link in links.all()] == PATHS


def test_what_no_page_may_do_is_noticed(browser: Browser, site: Site) -> None:
    """A watch that notices nothing would let every other test pass."""
    context = browser.new_context(bypass_csp=True)
    watch = Watch(context, site.url)
    page = context.new_page()
    page.goto(site.url)
    with page.expect_event("requestfailed"):
        page.evaluate("new Image().src = 'http://127.0.0.1:9/'")
    page.evaluate("() => { console.error('printed'); setTimeout(() => { throw new Error('lost'); }, 0); }")
    page.wait_for_timeout(50)
    context.close()
    assert watch.problems[0] == "A request left for http://127.0.0.1:9/"
    assert watch.problems[-2:] == ["On the console: printed ()", "Uncaught: lost"]


def test_the_policy_is_in_force(browser: Browser, site: Site) -> None:
    context = browser.new_context()
    watch = Watch(context, site.url)
    page = context.new_page()
    page.goto(site.url)
    page.evaluate("new Image().src = 'http://127.0.0.1:9/'")
    page.evaluate("document.body.append(document.createElement('script'))")
    page.evaluate("document.querySelector('body > script').textContent = 'alert(1)'")
    page.wait_for_timeout(50)
    context.close()
    noticed = "\n".join(watch.problems)
    assert "Content-Security-Policy: img-src blocks http://127.0.0.1:9/" in noticed
    assert "Content-Security-Policy: script-src-elem blocks inline" in noticed
