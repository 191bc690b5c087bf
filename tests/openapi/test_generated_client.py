"""A client that openapi-python-client generates from the document draws images."""

from __future__ import annotations

import json
from pathlib import Path

from tests.openapi.tools import needs_tools, run_tool
from tests.support.images import JPEG
from tests.support.processes import API_KEY, ROOT, Served

HERE = ROOT / "tests" / "openapi"


@needs_tools
def test_a_generated_client_draws(served: Served, tmp_path: Path) -> None:
    run_tool(
        *("openapi-python-client", "generate", "--url", f"{served.url}/openapi.json", "--meta", "none"),
        *("--config", str(HERE / "client_config.yml"), "--output-path", "gateway_client", "--fail-on-warning"),
        cwd=tmp_path,
        seconds=60,
    )
    face = tmp_path / "face.jpg"
    face.write_bytes(JPEG)
    arguments = (str(HERE / "draw.py"), served.url, API_KEY, str(face))
    printed = json.loads(run_tool("python", *arguments, cwd=tmp_path, seconds=60, PYTHONPATH=str(tmp_path)))
    urls = [*printed.pop("drawn"), *printed.pop("edited"), *printed.pop("task")]
    assert len(urls) == 1 + 2 + 1
    assert all(url.startswith("http://") for url in urls)
    assert printed == {"rejected": "1026", "models": ["MiniMax-Image-01"]}
