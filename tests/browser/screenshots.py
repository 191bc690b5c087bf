"""Takes the screenshots in docs/images: `python -m tests.browser.screenshots`. Look at each before you commit it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.conftest import launch_chromium
from tests.browser.playground import Playground
from tests.browser.site import Site, serve_site
from tests.support import processes
from tests.support.databases import migrate

FOLDER = processes.ROOT / "docs" / "images"
MAX_BYTES = 80_000
DESKTOP = {"viewport": {"width": 1280, "height": 860}}
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 1.5, "has_touch": True}


@dataclass(frozen=True)
class Shot:
    """`name` is the file without its suffix, `options` those of the browser's context."""

    name: str
    options: dict[str, Any]
    show: Callable[[Page, Site], None]


def show_playground(page: Page, site: Site) -> None:
    playground = Playground(page).open(site.new_key())
    playground.choose_ratio("16:9")
    playground.number.fill("2")
    playground.draw("A lighthouse at dusk, long exposure")
    expect(playground.images).to_have_count(2)
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")


def show_usage(page: Page, site: Site) -> None:
    key = site.new_key(requests_per_minute=60, images_per_minute=30)
    playground = Playground(page).open(key)
    for prompt in ("A lighthouse", "A pier", "A pier sandbox:1026", "A harbour"):
        with page.expect_response(lambda response: response.request.method == "POST"):
            playground.draw(prompt)
        expect(playground.draw_button).to_be_enabled()
    page.get_by_role("link", name="Usage").click()
    page.get_by_label("7 days").check()
    page.wait_for_load_state("networkidle")


SHOTS = (
    Shot("playground", {**DESKTOP, "color_scheme": "light"}, show_playground),
    Shot("playground-dark", {**DESKTOP, "color_scheme": "dark"}, show_playground),
    Shot("playground-phone", {**PHONE, "color_scheme": "light"}, show_playground),
    Shot("usage", {"viewport": {"width": 1280, "height": 1100}, "color_scheme": "light"}, show_usage),
)


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, _site(Path(folder)) as site, sync_playwright() as playwright:
        browser = launch_chromium(playwright)
        for shot in SHOTS:
            image = _take(browser, site, shot)
            (FOLDER / f"{shot.name}.webp").write_bytes(image)
            print(f"docs/images/{shot.name}.webp: {len(image)} bytes")
        browser.close()


def _take(browser: Browser, site: Site, shot: Shot) -> bytes:
    context = browser.new_context(base_url=site.url, **shot.options)
    page = context.new_page()
    shot.show(page, site)
    taken = page.screenshot(animations="disabled")
    context.close()
    file = BytesIO()
    Image.open(BytesIO(taken)).convert("RGB").save(file, "WEBP", quality=80, method=6)
    assert file.tell() < MAX_BYTES, f"{shot.name} has {file.tell()} bytes"
    return file.getvalue()


@contextmanager
def _site(folder: Path) -> Iterator[Site]:
    migrated = folder / "migrated.db"
    migrate(f"sqlite:///{migrated}")
    (folder / "site").mkdir()
    with processes.sandbox(folder) as sandbox, serve_site(folder / "site", migrated, sandbox.url) as site:
        yield site


if __name__ == "__main__":
    main()
