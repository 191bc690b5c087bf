"""docs/configuration.md and the settings that the other documents name.

tests/test_settings.py compares its table with `app/settings.py`.
"""

from __future__ import annotations

import re

import pytest

from tests.docs.markdown import names, read, rows

TABLE = rows(read("docs/configuration.md"), "variable | default | meaning")
DOCUMENTED = {name for variable, *_ in TABLE for name in names(variable)}


@pytest.mark.parametrize(
    "document", ["README.md", "CONTRIBUTING.md", *(f"docs/{name}.md" for name in ("api", "accounts", "decisions"))]
)
def test_every_setting_that_a_document_names_is_documented(document: str) -> None:
    named = set(re.findall(r"\b(?:AMUX|MINIMAX)_[A-Z_]+\b", read(document))) - {"AMUX_API_KEY"}  # the caller's own
    assert named <= DOCUMENTED, f"add them to the table of docs/configuration.md, or edit {document}"


def test_every_row_documents_one_setting() -> None:
    variables = [names(variable) for variable, *_ in TABLE]
    assert all(len(each) == 1 for each in variables), "edit docs/configuration.md: one setting per row"
    assert len(DOCUMENTED) == len(TABLE), "edit docs/configuration.md: a setting has two rows"
