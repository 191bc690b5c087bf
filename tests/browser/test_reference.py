"""The reference image's field: what cannot be used is an error there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.playground import FACE, Playground, size_of, wait_until_in_view
from tests.browser.site import Site


@pytest.fixture
def playground(page: Page, site: Site) -> Playground:
    return Playground(page).open(site.new_key())


def test_a_file_that_has_changed_on_the_disk(playground: Playground, tmp_path: Path) -> None:
    """Browsers do not read such a file. Nothing is sent."""
    file = tmp_path / "face.jpg"
    shutil.copy(FACE, file)
    playground.choose_file(file)
    assert size_of(playground.reference.get_by_role("img")) != (0, 0)  # a preview without its file is an error too
    file.unlink()
    playground.draw("The same person")
    expect(playground.error).to_contain_text("It cost nothing. Choose the file again.")
    expect(playground.reference.get_by_text("cannot be read any more")).to_be_visible()
    expect(playground.draw_button).to_be_visible()
    playground.choose_file()
    playground.draw("The same person")
    expect(playground.images).to_have_count(1)


def test_removing_leaves_the_focus_in_the_field(playground: Playground) -> None:
    playground.choose_file()
    playground.reference.get_by_role("button", name="Remove reference").press("Enter")
    expect(playground.reference.get_by_role("button", name="Choose image")).to_be_focused()


def test_a_drawn_image_that_becomes_the_reference_is_in_view(playground: Playground) -> None:
    page = playground.page
    page.set_viewport_size({"width": 390, "height": 800})
    playground.draw("A pier")
    expect(playground.images).to_have_count(1)
    page.get_by_role("button", name="Use as reference").click()
    wait_until_in_view(playground.reference.get_by_role("img"))
    expect(page.get_by_role("status").filter(has_text="reference.jpg is the reference image.")).to_be_visible()


# Drops a file on an element, and returns whether the browser would have opened it.
DROP = """(element, type) => {
  const data = new DataTransfer();
  data.items.add(new File(['text'], 'file', { type }));
  const options = { bubbles: true, cancelable: true, dataTransfer: data };
  const isTaken = !element.dispatchEvent(new DragEvent('dragover', options));
  return element.dispatchEvent(new DragEvent('drop', options)) || !isTaken;
}"""


def test_a_dropped_text_file_is_an_error(playground: Playground) -> None:
    assert not playground.reference.evaluate(DROP, "text/plain")
    expect(playground.reference.get_by_text("This file is no image")).to_be_visible()
    playground.choose_file()
    expect(playground.reference.get_by_text("This file is no image")).to_have_count(0)


def test_an_image_that_misses_the_field_is_taken(playground: Playground) -> None:
    assert not playground.history.evaluate(DROP, "image/jpeg")
    expect(playground.reference.get_by_role("img")).to_have_count(1)
