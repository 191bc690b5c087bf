"""The playground as a person uses it: by labels and roles, never by the page's own class names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from tests.support.waiting import wait_until

FACE = Path(__file__).resolve().parents[2] / "examples" / "face.jpg"


class Playground:
    """The page at `/`. Each property is looked up anew when it is used."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.prompt = page.get_by_role("textbox", name="Prompt")
        self.draw_button = page.get_by_role("button", name="Draw", exact=True)
        self.cancel_button = page.get_by_role("button", name="Cancel")
        self.images = page.get_by_role("list", name="Images").get_by_role("img")
        self.error = page.get_by_role("alert")
        self.number = page.get_by_role("spinbutton", name="Number of images")
        self.seed = page.get_by_role("spinbutton", name="Seed")
        self.reference = page.get_by_role("group", name="Reference image")
        self.history = page.get_by_role("region", name="History")

    def open(self, key: str) -> Playground:
        """Open the page with `key`, as the URL that `make run` prints does."""
        self.page.goto(f"/#key={key}")
        expect(self.draw_button).to_be_visible()
        return self

    def use_key(self, key: str) -> None:
        self.page.get_by_label("API key").fill(key)
        self.page.get_by_role("button", name="Use key").click()

    def draw(self, prompt: str) -> None:
        """Press Draw, and wait for nothing."""
        self.prompt.fill(prompt)
        self.draw_button.click()

    def choose_ratio(self, ratio: str) -> None:
        self.page.get_by_role("radiogroup", name="Aspect ratio").get_by_role("radio", name=ratio).check()

    def choose_file(self, path: Path = FACE) -> None:
        with self.page.expect_file_chooser() as chooser:
            self.reference.get_by_role("button", name="Choose image").click()
        chooser.value.set_files(path)

    def show_code(self, language: str) -> str:
        """The shown program that makes the call of the form."""
        self.page.get_by_role("tab", name=language).click()
        return self.page.get_by_role("tabpanel").locator("pre").inner_text()


def wait_for_clipboard(page: Page, holds: Callable[[str], bool]) -> str:
    """The text of the clipboard, which a button of the page fills after the click has returned."""
    texts: list[str] = []

    def is_filled() -> bool:
        texts.append(page.evaluate("navigator.clipboard.readText()"))
        return holds(texts[-1])

    wait_until(is_filled, "the clipboard is filled")
    return texts[-1]


def size_of(image: Locator) -> tuple[int, int]:
    """Width and height of a shown image, once it is decoded. (0, 0) for a broken one."""
    width, height = image.evaluate(
        "image => image.decode().then(() => [image.naturalWidth, image.naturalHeight], () => [0, 0])"
    )
    return width, height


def wait_until_in_view(element: Locator) -> None:
    """Wait until the whole element is in the window."""
    expect(element).to_be_in_viewport(ratio=1)
