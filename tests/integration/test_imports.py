"""A gateway imports no library that its settings do not ask for: each takes memory in every worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.processes import ROOT

CODE = """
import json, sys
from app import create_app
from app.settings import Settings
app = create_app(Settings.from_env())
app.extensions["task_supervisor"]._store.sweep()
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})))
"""


def test_a_gateway_without_a_database_imports_no_driver(tmp_path: Path) -> None:
    left_out = ("DATABASE_URL", "REDIS_URL", "AMUX_IMAGE_STORE")
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    environment |= {"MINIMAX_API_KEY": "a-key", "AMUX_API_KEYS": "a-caller", "AMUX_STATE_FOLDER": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    imported = set(json.loads(done.stdout.splitlines()[-1]))
    assert "sqlite3" in imported
    assert imported & {"sqlalchemy", "alembic", "redis", "psycopg", "botocore"} == set()
    assert (tmp_path / "answers.db").exists()
