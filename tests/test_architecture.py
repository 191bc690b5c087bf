"""Imports run one way: blueprints → schemas, services → minimax; the gateway never imports its sandbox."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.support.processes import ROOT

FILES = sorted(path.relative_to(ROOT) for path in (ROOT / "app").rglob("*.py"))
OUTER = ("app.blueprints", "app.request_log", "app.error_handlers", "app.auth", "app.server", "app.config", "app.body")

# Where a path begins so, nothing that begins so is imported.
FORBIDDEN = {
    "app/minimax": ("flask", "werkzeug", "app.services", "app.schemas", *OUTER),
    "app/services": ("flask", "werkzeug", "requests", "app.schemas", *OUTER),
    "app/schemas": ("flask", "requests", "app.minimax", "app.blueprints", "app.request_log"),
    "app/blueprints": ("requests", "app.minimax"),
    "app/errors.py": ("flask", "werkzeug", "app."),
    "app/sandbox": ("app.minimax", "app.services", "app.schemas", *OUTER),
    "app": ("app.sandbox", "PIL", "tests"),
}


def imported_by(path: Path) -> set[str]:
    """Each imported module, and each `module.name`, since that may be a module as well."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return found


@pytest.mark.parametrize("path", FILES, ids=str)
def test_imports_run_one_way(path: Path) -> None:
    in_sandbox = path.is_relative_to("app/sandbox")
    for room, forbidden in FORBIDDEN.items():
        if path.is_relative_to(room) and not (room == "app" and in_sandbox):
            broken = {
                name
                for name in imported_by(path)
                if f"{name}.".startswith(tuple(f"{f.rstrip('.')}." for f in forbidden))
            }
            assert not broken, f"{path} imports {broken}"


@pytest.mark.parametrize("path", FILES, ids=str)
def test_nothing_imports_the_factory(path: Path) -> None:
    assert not imported_by(path) & {"app", "app.create_app"}


def test_the_rule_sees_every_room() -> None:
    """A renamed folder must not make its rule true for nothing."""
    for room in FORBIDDEN:
        assert any(path.is_relative_to(room) for path in FILES), room
