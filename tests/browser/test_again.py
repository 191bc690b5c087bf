"""A repeated call is the same call: with its own reference image, or clearly without one."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, Request, expect

from tests.browser.playground import Playground
from tests.browser.site import Site

URL = "https://images.example/face.jpg"

# Removes the reference from what is stored, as calls of earlier versions lack it.
FORGET_REFERENCES = """() => new Promise((resolve) => {
  const opened = indexedDB.open("amux-playground");
  opened.onsuccess = () => {
    const transaction = opened.result.transaction("calls", "readwrite");
    transaction.oncomplete = resolve;
    const calls = transaction.objectStore("calls");
    calls.openCursor().onsuccess = ({ target: { result: cursor } }) => {
      if (!cursor) return;
      const { reference, ...call } = cursor.value;
      cursor.update(call);
      cursor.continue();
    };
  };
})"""


@pytest.fixture
def playground(page: Page, site: Site) -> Playground:
    return Playground(page).open(site.new_key())


def is_call(request: Request) -> bool:
    return request.method == "POST"


def draw(playground: Playground, prompt: str) -> Request:
    with playground.page.expect_request(is_call) as sent:
        playground.draw(prompt)
    expect(playground.history.get_by_text(prompt)).to_be_visible()
    expect(playground.draw_button).to_be_visible()
    return sent.value


def draw_again(playground: Playground) -> Request:
    with playground.page.expect_request(is_call) as sent:
        playground.page.get_by_role("button", name="Again with this seed").click()
    expect(playground.draw_button).to_be_visible()
    expect(playground.error).to_have_count(0)
    return sent.value


def same(first: Request, second: Request) -> bool:
    return (first.url, first.post_data_json) == (second.url, second.post_data_json)


@pytest.mark.parametrize("is_reloaded", [False, True], ids=["result", "history"])
@pytest.mark.parametrize("reference", ["file", "url", "none"])
def test_a_call_is_repeated_with_its_own_reference(playground: Playground, reference: str, is_reloaded: bool) -> None:
    url = playground.reference.get_by_role("textbox", name="Image URL")
    if reference == "file":
        playground.choose_file()
    elif reference == "url":
        url.fill(URL)
    first = draw(playground, "The same person")
    assert ("image" in (first.post_data_json or {})) == (reference != "none")
    if is_reloaded:
        playground.page.reload()
        playground.history.get_by_role("button", name="Show again").click()
    if reference == "none":
        playground.choose_file()
    elif reference == "file":
        url.fill("https://images.example/another.jpg")
    else:
        url.fill("")
    assert same(first, draw_again(playground))


def test_a_call_whose_reference_was_not_kept_is_not_repeated(playground: Playground) -> None:
    draw(playground, "The same person")
    playground.page.evaluate(FORGET_REFERENCES)
    playground.page.reload()
    playground.history.get_by_role("button", name="Show again").click()
    expect(playground.images).to_have_count(1)
    expect(playground.page.get_by_text("its reference image was not kept")).to_be_visible()
    expect(playground.page.get_by_role("button", name="Again with this seed")).to_have_count(0)


def test_a_call_is_not_repeated_while_another_one_runs(playground: Playground) -> None:
    """It would overwrite the prompt that is typed meanwhile."""
    draw(playground, "A pier")
    again = playground.page.get_by_role("button", name="Again with this seed")
    playground.draw("Another pier sandbox:slow=3")
    expect(playground.cancel_button).to_be_visible()
    expect(again).to_be_disabled()
    playground.history.get_by_role("button", name="Show again").click()
    expect(again).to_be_disabled()
    expect(playground.draw_button).to_be_visible()
    expect(again).to_be_enabled()


def test_the_focus_goes_to_what_ends_the_repeated_call(playground: Playground) -> None:
    draw(playground, "A pier")
    with playground.page.expect_request(is_call):
        playground.page.get_by_role("button", name="Again with this seed").press("Enter")
    expect(playground.draw_button).to_be_visible()
    expect(playground.draw_button).to_be_focused()
