"""Fixtures for tests in Debian's chromium: the browser, a gateway with accounts and the sandbox, and watched pages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Playwright, expect, sync_playwright

from tests.browser.site import Site, serve_site
from tests.browser.watch import Watch
from tests.support import processes

CHROMIUM = shutil.which("chromium")
PATIENCE = 15_000  # milliseconds until an expectation fails

expect.set_options(timeout=PATIENCE)

OpenPage = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium without a window. Per module: playwright keeps an event loop running in this thread meanwhile."""
    if CHROMIUM is None:
        pytest.skip("chromium is missing: run scripts/install-test-tools")
    with sync_playwright() as playwright:
        browser = launch_chromium(playwright)
        yield browser
        browser.close()


def launch_chromium(playwright: Playwright) -> Browser:
    # Chromium's own sandbox needs a user other than root.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    return playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)


@pytest.fixture(scope="session")
def upstream_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a gunicorn with the sandbox."""
    with processes.sandbox(tmp_path_factory.mktemp("sandbox")) as sandbox:
        yield sandbox.url


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Any, upstream_sandbox: str) -> Iterator[Site]:
    """A gateway with accounts in front of the sandbox, for tests that do not stop it."""
    with serve_site(tmp_path_factory.mktemp("site"), migrated_sqlite, upstream_sandbox) as site:
        yield site


@pytest.fixture
def open_page(browser: Browser, site: Site) -> Iterator[OpenPage]:
    """Open a page in a context of its own: `open_page(url=…, **options of the context)`.

    At the end, the test fails if the page has done what no page may do.
    """
    watches: list[Watch] = []
    contexts = []

    def open_one(url: str = site.url, **options: Any) -> Page:
        context = browser.new_context(base_url=url, **options)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        watches.append(Watch(context, url))
        return context.new_page()

    yield open_one
    for context in contexts:
        context.close()
    assert [problem for watch in watches for problem in watch.problems] == []


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    """A page of `site`, in a window of 1280 by 720."""
    return open_page()
