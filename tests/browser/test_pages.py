"""Every page: it loads from its own origin only, without errors."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Response, expect

from app.pages.page import PAGES
from tests.browser.loading import open_loaded
from tests.browser.site import Site
from tests.browser.watch import Watch

PATHS = [page.path for page in PAGES]
ELSEWHERE = "http://127.0.0.1:9/"


@pytest.mark.parametrize("path", PATHS)
def test_a_page_loads_and_leads_to_the_others(page: Page, path: str) -> None:
    open_loaded(page, path)
    expect(page.get_by_role("heading", level=1).first).to_be_visible()
    links = page.get_by_role("navigation", name="Pages").get_by_role("link")
    assert [link.get_attribute("href") for link in links.all()] == PATHS


def test_the_playground_is_light(page: Page) -> None:
    """In bytes, before compression. There is no image yet."""
    responses: list[Response] = []
    page.on("response", lambda response: responses.append(response))
    open_loaded(page, "/")
    sizes = {response.url: len(response.body()) for response in responses}
    assert len(sizes) > len(PATHS)
    assert sum(sizes.values()) < 100_000, sizes


def says(text: str) -> Callable[[ConsoleMessage], bool]:
    """Whether a message has this text. Messages and errors come after the script that causes them has ended."""
    return lambda message: message.text == text


def test_what_no_page_may_do_is_noticed(browser: Browser, site: Site) -> None:
    """A watch that notices nothing would let every other test pass."""
    context = browser.new_context(bypass_csp=True)
    watch = Watch(context, site.url)
    page = context.new_page()
    page.goto(site.url)
    with context.expect_event("request", lambda request: request.url == ELSEWHERE):
        page.evaluate(f"new Image().src = '{ELSEWHERE}'")
    with context.expect_event("console", says("printed")):
        page.evaluate("console.error('printed')")
    with context.expect_event("weberror"):
        page.evaluate("() => { setTimeout(() => { throw new Error('lost'); }, 0); }")
    context.close()
    assert {f"A request left for {ELSEWHERE}", "On the console: printed ()", "Uncaught: lost"} <= set(watch.problems)


def test_the_policy_is_in_force(browser: Browser, site: Site) -> None:
    context = browser.new_context()
    watch = Watch(context, site.url)
    page = context.new_page()
    page.goto(site.url)
    image = f"Content-Security-Policy: img-src blocks {ELSEWHERE}"
    script = "Content-Security-Policy: script-src-elem blocks inline"
    with context.expect_event("console", says(image)):
        page.evaluate(f"new Image().src = '{ELSEWHERE}'")
    with context.expect_event("console", says(script)):
        page.evaluate("document.body.append(document.createElement('script'))")
        page.evaluate("document.querySelector('body > script').textContent = 'alert(1)'")
    context.close()
    assert {f"On the console: {each} ()" for each in (image, script)} <= set(watch.problems)
