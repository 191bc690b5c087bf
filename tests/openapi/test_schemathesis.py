"""schemathesis sends valid and invalid requests, made from the document, to a real gateway, and finds no fault."""

from __future__ import annotations

import re
from pathlib import Path

from tests.openapi.tools import needs_tools, run_tool
from tests.support.processes import API_KEY, ROOT, Served

SECONDS = 20
# Rules that join fields, and the bytes of an image, are not in the schemas: a valid request may be 400.
NOT_CHECKED = "positive_data_acceptance"


@needs_tools
def test_schemathesis_finds_nothing(served: Served, tmp_path: Path) -> None:
    output = run_tool(
        "schemathesis",
        *("run", f"{served.url}/openapi.json", "--header", f"Authorization: Bearer {API_KEY}"),
        *("--phases", "examples,coverage,fuzzing", "--exclude-checks", NOT_CHECKED),
        *("--max-examples", "5", "--max-time", str(SECONDS), "--seed", "1", "--no-color"),
        cwd=tmp_path,
        seconds=2 * SECONDS + 30,
        PYTHONPATH=str(ROOT),
        SCHEMATHESIS_HOOKS="tests.openapi.schemathesis_hooks",
    )
    found = re.search(r"Tested: +(\d+)", output)
    assert found is not None
    assert int(found[1]) >= 11, output
