"""Errors as a person reads them: what happened, with the code and the request id, and the balance stays true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import OpenPage
from tests.browser.playground import FACE, Playground, wait_for_clipboard
from tests.browser.site import Site, serve_site

# By the sandbox's word in the prompt.
CODES = {
    "sandbox:1026": "1026",
    "sandbox:1002": "1002",
    "sandbox:1008": "1008",
    "sandbox:withheld=1": "content_withheld",
    "sandbox:html": "upstream_invalid_answer",
    "sandbox:half": "upstream_interrupted",
    "sandbox:misspelt": "2013",
}


def expect_code(playground: Playground, code: str) -> None:
    expect(playground.error).to_contain_text(code)
    expect(playground.draw_button).to_be_enabled()


@pytest.fixture
def playground(page: Page, site: Site) -> Playground:
    return Playground(page).open(site.new_key())


@pytest.mark.parametrize("word", CODES)
def test_an_error_of_minimax_is_shown_with_its_code(playground: Playground, word: str) -> None:
    with playground.page.expect_response(lambda response: response.request.method == "POST") as response:
        playground.draw(f"A pier {word}")
    expect_code(playground, CODES[word])
    expect(playground.error).to_contain_text(response.value.headers["x-request-id"])
    expect(playground.images).to_have_count(0)


@pytest.mark.parametrize("key", ["amux-wrong", "ключ"])
def test_a_wrong_key(page: Page, key: str) -> None:
    playground = Playground(page)
    playground.page.goto("/")
    playground.use_key(key)
    playground.draw("A pier")
    expect_code(playground, "invalid_api_key")


def test_the_cost_with_the_right_key_after_a_wrong_one(page: Page, site: Site) -> None:
    playground = Playground(page).open("amux-wrong")
    playground.draw("A pier")
    expect_code(playground, "invalid_api_key")
    held: list[Route] = []
    page.route(re.compile("/v1/models$"), lambda route: held.append(route))
    with page.expect_request(re.compile("/v1/models$")):
        playground.use_key(site.new_key())
    playground.draw("A pier")  # before its models are known
    held[0].continue_()
    expect(page.get_by_text("Cost 0.01 USD. Balance 0.99 USD.").first).to_be_visible()


def test_a_key_without_money(page: Page, site: Site) -> None:
    playground = Playground(page).open(site.new_key(balance=0))
    playground.draw("A pier")
    expect_code(playground, "insufficient_balance")
    expect(playground.error).to_contain_text("is 0.00 USD and the call costs 0.01 USD.")


def test_a_limit_and_when_it_ends(page: Page, site: Site) -> None:
    playground = Playground(page).open(site.new_key(images_per_minute=1))
    playground.draw("A pier")
    expect(playground.images).to_have_count(1)
    playground.draw("Another pier")
    expect_code(playground, "rate_limit_exceeded")
    expect(playground.error).to_contain_text(re.compile(r"Try again in \d+ s"))


@pytest.mark.parametrize("seed", ["12e", "1.5", "9007199254740992", "9223372036854775807"])
def test_a_seed_that_would_not_be_drawn_as_it_is_typed(playground: Playground, seed: str) -> None:
    """Nothing is sent: what is typed would be rounded, or a random seed."""
    calls = []
    playground.page.on("request", lambda request: calls.append(request.url) if request.method == "POST" else None)
    playground.seed.press_sequentially(seed)
    playground.draw("A pier")
    expect_code(playground, "invalid_value")
    expect(playground.seed).to_be_focused()
    expect(playground.seed).to_have_attribute("aria-invalid", "true")
    expect(playground.page.locator("form").get_by_text("must be a whole number")).to_be_visible()
    assert "must be a whole number" in playground.show_code("Node")
    assert calls == []


def test_the_largest_seed_is_sent_as_it_is(playground: Playground) -> None:
    playground.seed.fill("-9007199254740991")
    assert '"seed": -9007199254740991' in playground.show_code("curl")
    with playground.page.expect_request(lambda request: request.method == "POST") as sent:
        playground.draw("A pier")
    assert (sent.value.post_data_json or {})["seed"] == -9007199254740991
    expect(playground.images).to_have_count(1)


def test_a_url_that_is_none_is_shown_as_text(playground: Playground) -> None:
    url = "javascript:alert(1)"
    playground.reference.get_by_role("textbox", name="Image URL").fill(url)
    playground.draw("A pier")
    expect_code(playground, "invalid_value")
    assert playground.page.locator(f'[src^="{url}"], [href^="{url}"]').count() == 0


def test_some_images_withheld(playground: Playground) -> None:
    playground.number.fill("3")
    playground.draw("A pier sandbox:withheld=1")
    expect(playground.images).to_have_count(2)
    expect(playground.page.get_by_text("1 image was withheld")).to_be_visible()


def test_a_gateway_that_is_gone(
    open_page: OpenPage, tmp_path: Path, migrated_sqlite: Path, upstream_sandbox: str
) -> None:
    with serve_site(tmp_path, migrated_sqlite, upstream_sandbox) as site:
        playground = Playground(open_page(site.url)).open(site.new_key())
        site.stop()
        playground.draw("A pier")
        expect(playground.error).to_be_visible()
        expect(playground.draw_button).to_be_enabled()


def test_a_reference_that_is_too_large(playground: Playground, tmp_path: Path) -> None:
    file = tmp_path / "large.jpg"
    file.write_bytes(FACE.read_bytes() + bytes(13_000_000))
    playground.choose_file(file)
    playground.draw("The same person")
    expect_code(playground, "request_entity_too_large")
    expect(playground.error).to_contain_text("It cost nothing. Choose a smaller image.")
    expect(playground.reference.get_by_text("must be smaller than 10 MB")).to_be_visible()


# The texts of all errors, by their codes, as if a call had failed with each.
ALL_TEXTS = """async (module) => {
  const { showError } = await import(module);
  const codes = (await (await fetch('/openapi.json')).json())['x-errorCodes'];
  return Object.fromEntries(Object.entries(codes).map(([code, { status, should_retry: shouldRetry }]) => {
    const container = document.createElement('div');
    showError(container, { message: 'It failed.', code, status, shouldRetry });
    return [code, container.querySelector('p + p').textContent];
  }));
}"""


def test_every_error_says_what_it_cost_and_whether_trying_again_helps(playground: Playground) -> None:
    source = playground.page.locator("script[src*=playground]").get_attribute("src") or ""
    texts = playground.page.evaluate(ALL_TEXTS, source.replace("playground/main.js", "common/errors.js"))
    for code, text in texts.items():
        assert re.match("It cost nothing|It may have been drawn, and charged", text), code
        assert re.search("(?i)try again|trying", text), code
    assert texts["1000"].startswith("It cost nothing. Try again in a minute.")
    assert texts["1004"].startswith("It cost nothing. Trying again does not help")
    assert texts["1002"] == "It cost nothing. Try again in a minute."
    assert (
        texts["upstream_deadline"]
        == "It may have been drawn, and charged. Trying again is a new call, with its own cost."
    )


def test_details_are_copied(open_page: OpenPage, site: Site) -> None:
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    playground = Playground(page).open(site.new_key())
    with page.expect_response(lambda response: response.request.method == "POST") as response:
        playground.draw("sandbox:1026")
    playground.error.get_by_role("button", name="Copy details").click()
    request_id = response.value.headers["x-request-id"]
    wait_for_clipboard(page, lambda text: "1026" in text and request_id in text)


def test_an_error_goes_away_with_the_next_image(playground: Playground) -> None:
    playground.draw("sandbox:1026")
    expect(playground.error).to_be_visible()
    playground.draw("A pier")
    expect(playground.images).to_have_count(1)
    expect(playground.error).to_have_count(0)
