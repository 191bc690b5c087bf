"""What the form asks for is what is drawn: from text, and from a reference image."""

from __future__ import annotations

import base64

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.playground import FACE, Playground, size_of
from tests.browser.site import Site

# Gives an element a file as a drop or a paste does.
GIVE_FILE = """
(element, [kind, base64]) => {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], 'face.jpg', { type: 'image/jpeg' }));
  const options = { bubbles: true, cancelable: true };
  const event = kind === 'paste'
    ? new ClipboardEvent('paste', { ...options, clipboardData: data })
    : new DragEvent('drop', { ...options, dataTransfer: data });
  element.dispatchEvent(event);
}
"""


@pytest.fixture
def playground(page: Page, site: Site) -> Playground:
    return Playground(page).open(site.new_key())


def test_ratio_number_and_seed(playground: Playground) -> None:
    playground.choose_ratio("16:9")
    playground.number.fill("2")
    playground.seed.fill("7")
    playground.draw("A pier")
    expect(playground.images).to_have_count(2)
    assert [size_of(image) for image in playground.images.all()] == [(1280, 720)] * 2
    figures = playground.page.get_by_role("list", name="Images").get_by_role("figure")
    expect(figures.first).to_contain_text("7")
    expect(figures.first).to_contain_text("1280")
    with playground.page.expect_download() as download:
        figures.first.get_by_role("link", name="Download").click()
    with Image.open(download.value.path()) as image:
        assert image.size == (1280, 720)


def test_again_with_this_seed(playground: Playground) -> None:
    """A call without a seed has one all the same, so that its image can be drawn again."""
    playground.draw("A pier")
    expect(playground.images).to_have_count(1)
    first = playground.images.first.evaluate(PIXELS)
    assert playground.seed.input_value() == ""
    expect(playground.draw_button).to_be_visible()  # while a call runs, the button below does nothing
    with playground.page.expect_request(lambda request: request.method == "POST") as sent:
        playground.page.get_by_role("button", name="Again with this seed").click()
    assert playground.seed.input_value() == str((sent.value.post_data_json or {})["seed"])
    expect(playground.draw_button).to_be_visible()
    expect(playground.error).to_have_count(0)
    assert playground.images.first.evaluate(PIXELS) == first


# The corner of an image as a string.
PIXELS = """async (image) => {
  await image.decode();
  const canvas = Object.assign(document.createElement('canvas'), { width: 64, height: 64 });
  canvas.getContext('2d').drawImage(image, 0, 0, 64, 64);
  return canvas.toDataURL();
}"""


@pytest.mark.parametrize("way", ["choice", "drop", "paste"])
def test_a_reference_image_is_previewed_and_drawn(playground: Playground, way: str) -> None:
    if way == "choice":
        playground.choose_file()
    else:
        target = playground.reference if way == "drop" else playground.prompt
        target.evaluate(GIVE_FILE, [way, base64.b64encode(FACE.read_bytes()).decode()])
    preview = playground.reference.get_by_role("img")
    expect(preview).to_be_visible()
    with Image.open(FACE) as face:
        assert size_of(preview) == face.size
    with playground.page.expect_request(lambda request: request.method == "POST") as sent:
        playground.draw("The same person on a pier")
    assert "/v1/images/" in sent.value.url
    assert "image/jpeg" in (sent.value.post_data or "")
    expect(playground.images).to_have_count(1)
    assert size_of(playground.images) == (1024, 1024)


def test_a_drawn_image_becomes_the_reference_and_is_removed(playground: Playground) -> None:
    playground.draw("A pier")
    playground.page.get_by_role("button", name="Use as reference").click()
    expect(playground.reference.get_by_role("img")).to_be_visible()
    playground.reference.get_by_role("button", name="Remove reference").click()
    expect(playground.reference.get_by_role("img")).to_have_count(0)


def test_a_reference_by_url_is_never_fetched_by_the_page(playground: Playground) -> None:
    """The watch of the page fails the test if a request leaves the gateway."""
    playground.reference.get_by_role("textbox", name="Image URL").fill("https://images.example/face.jpg")
    playground.draw("The same person")
    expect(playground.images).to_have_count(1)
    expect(playground.error).to_have_count(0)
