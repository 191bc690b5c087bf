"""The reference image's field: what cannot be used is an error there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.playground import FACE, Playground
from tests.browser.site import Site


@pytest.fixture
def playground(page: Page, site: Site) -> Playground:
    return Playground(page).open(site.new_key())


def test_a_file_that_has_changed_on_the_disk(playground: Playground, tmp_path: Path) -> None:
    """Browsers do not read such a file. Nothing is sent."""
    file = tmp_path / "face.jpg"
    shutil.copy(FACE, file)
    playground.choose_file(file)
    file.unlink()
    playground.draw("The same person")
    expect(playground.error).to_contain_text("It cost nothing. Choose the file again.")
    expect(playground.reference.get_by_text("cannot be read any more")).to_be_visible()
    expect(playground.draw_button).to_be_visible()
    playground.choose_file()
    playground.draw("The same person")
    expect(playground.images).to_have_count(1)
