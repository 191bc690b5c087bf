"""axe's rules for accessible pages, checked in the browser."""

from __future__ import annotations

from typing import Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


def expect_accessible(page: Page) -> None:
    """Fail with the violations of the page as it is now, in light and in dark."""
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        page.evaluate("Promise.allSettled(document.getAnimations().map((each) => each.finished))")  # fading colors
        results = Axe().run(page)
        assert results.violations_count == 0, f"{scheme}: {results.generate_report()}"


def expect_no_sideways_scroll(page: Page) -> None:
    scrolls, shows = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert scrolls <= shows
