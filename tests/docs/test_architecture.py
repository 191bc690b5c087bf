"""docs/architecture.md: its diagram has the folders and the imports that `app/` has."""

from __future__ import annotations

import re

from tests.docs.markdown import blocks, read
from tests.support.processes import ROOT
from tests.test_architecture import FILES, imported_by

[DIAGRAM] = blocks("mermaid", read("docs/architecture.md"))
EDIT = "edit the diagram in docs/architecture.md"
FOLDERS = {path.name for path in (ROOT / "app").iterdir() if (path / "__init__.py").is_file()}


def test_the_diagram_has_every_folder() -> None:
    assert set(re.findall(r"^ +(\w+)\[", DIAGRAM, re.MULTILINE)) == FOLDERS, EDIT


def test_the_diagram_has_every_import_between_folders() -> None:
    drawn = set(re.findall(r"^ +(\w+) --> (\w+)$", DIAGRAM, re.MULTILINE))
    imports = {
        (path.parts[1], name.split(".")[1])
        for path in FILES
        for name in imported_by(path)
        if name.startswith("app.") and path.parts[1] in FOLDERS
    }
    expected = {(room, other) for room, other in imports if other in FOLDERS and other != room}
    assert len(re.findall("-->", DIAGRAM)) == len(drawn), f"{EDIT}: an arrow is drawn twice, or not as `a --> b`"
    assert drawn - expected == set(), f"{EDIT}: these imports do not exist"
    assert expected - drawn == set(), f"{EDIT}: these imports are missing, or should not exist"
