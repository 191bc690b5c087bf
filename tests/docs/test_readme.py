"""README.md: its commands and examples run, its links lead somewhere, and it stays one page."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.docs.markdown import BASE_URL, blocks, read, run_curl, run_example
from tests.sdk.test_node_sdk import FOLDER, NODE
from tests.support.processes import ROOT, Served

README = read("README.md")
CURLS = [block for block in blocks("sh", README) if block.startswith("curl")]
MAX_LINES = 150
DOCUMENTS = sorted(
    str(path.relative_to(ROOT)) for folder in (ROOT, ROOT / "docs") for path in folder.glob("*.md") if path.is_file()
)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing: apt-get install curl")
@pytest.mark.parametrize("block", CURLS)
def test_every_curl_line_works(block: str, served: Served) -> None:
    printed = json.loads(run_curl(block, served))
    if "sandbox:1026" in block:
        assert printed["error"]["code"] == "1026"
    else:
        assert all({"url", "id"} & set(item) for item in printed["data"])
        assert printed["data"]


def test_the_curl_lines_were_found() -> None:
    assert len(CURLS) == README.count("curl http") >= 2


def test_the_python_example_works(served: Served) -> None:
    example, slow = blocks("python", README)
    shorter = slow.replace("sandbox:slow=40", "sandbox:slow=4").replace("timeout=15", "timeout=1.5")
    assert shorter != slow
    script = (example + shorter).replace(BASE_URL, served.url)
    url, length, late_url = run_example([sys.executable, "-c", script], served).split()
    assert url.startswith("http://")
    assert int(length) > 1000
    assert late_url.startswith("http://")


@pytest.mark.skipif(not (FOLDER / "node_modules" / "openai").is_dir(), reason="run scripts/install-test-tools")
def test_the_node_example_works(served: Served, tmp_path: Path) -> None:
    [example] = blocks("js", README)
    script = tmp_path / "example.mjs"
    script.write_text(example.replace(BASE_URL, served.url))
    (tmp_path / "node_modules").symlink_to(FOLDER / "node_modules")
    first, second = run_example([str(NODE), str(script)], served).split()
    assert first.startswith("http://")
    assert second.startswith("http://")


def test_the_readme_is_one_page() -> None:
    assert len(README.splitlines()) <= MAX_LINES, "move what one looks up from README.md to docs/"


def test_the_readme_lists_every_document() -> None:
    listed = set(re.findall(r"^\| \[[^]]+\]\(([^)]+)\) \|", README, re.MULTILINE))
    assert listed == {*DOCUMENTS} - {"README.md"}, "edit the table under 'Documentation' in README.md"


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives the headings of `text`."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_leads_somewhere(document: str) -> None:
    folder = (ROOT / document).parent
    for link in re.findall(r"\]\(([^)\s]+)\)", read(document)):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = folder / path if path else ROOT / document
        assert target.is_file(), f"{document}: there is no file {link}"
        assert not anchor or anchor in anchors(target.read_text()), f"{document}: there is no heading {link}"


@pytest.mark.parametrize("document", sorted({*DOCUMENTS} - {"CHANGELOG.md"}))
def test_every_named_file_exists(document: str) -> None:
    """Paths set as code, like `app/web/body_limits.py`. CHANGELOG.md may name files of the past."""
    named = re.findall(r"`((?:app|tests|bench|deploy|docs|scripts|examples)/[\w@./-]*\w)`", read(document))
    missing = [name for name in named if not (ROOT / name).exists()]
    assert missing == [], f"edit {document}: it names files that do not exist"
