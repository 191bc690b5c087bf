"""What somebody has typed stays text wherever it is shown. An alert fails the test: see `Watch`."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.playground import Playground
from tests.browser.site import Site

PROMPTS = ["<img src=x onerror=alert(1)>", "</pre><script>alert(1)</script>{{ 7*7 }}"]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_prompt_is_text_everywhere(page: Page, site: Site, prompt: str) -> None:
    playground = Playground(page).open(site.new_key())
    playground.draw(prompt)
    expect(playground.images).to_have_count(1)
    assert playground.images.get_attribute("alt") == prompt
    for language in ("curl", "Python", "Node"):
        assert prompt in playground.show_code(language)
    playground.draw(f"{prompt} sandbox:1026")
    expect(playground.error).to_be_visible()
    page.reload()
    expect(playground.history).to_contain_text(prompt)
    assert page.locator("img[src=x], img[onerror], body script").count() == 0
