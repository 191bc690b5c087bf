"""Imports run one way: blueprints → schemas, services → minimax; the gateway never imports its sandbox."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.support.processes import ROOT

FILES = sorted(path.relative_to(ROOT) for path in (ROOT / "app").rglob("*.py"))
MODULES = {f"app.{path.parts[1].removesuffix('.py')}" for path in FILES}
WIRING = (
    *("app.blueprints", "app.request_log", "app.error_handlers", "app.auth", "app.server", "app.config", "app.body"),
    *("app.slots", "app.draining"),
)
OUTER = (*WIRING, "app.metrics", "prometheus_client")

# Where a path begins so, nothing that begins so is imported.
FORBIDDEN = {
    "app/minimax": ("flask", "werkzeug", "app.services", "app.schemas", *OUTER),
    "app/services": ("flask", "werkzeug", "requests", "sqlalchemy", "app.storage", "app.limits", "app.schemas", *OUTER),
    "app/schemas": ("flask", "requests", "app.minimax", "app.blueprints", "app.request_log"),
    "app/blueprints": ("requests", "app.minimax"),
    "app/streaming": ("flask", "werkzeug", "requests", "app.minimax", "app.services", "app.schemas", *OUTER),
    "app/accounts": ("flask", "werkzeug", "requests", "sqlalchemy", "app.storage", "app.limits", "app.schemas", *OUTER),
    "app/limits": ("flask", "werkzeug", "requests", "sqlalchemy", "app.storage", "app.services", "app.schemas"),
    "app/storage": ("flask", "werkzeug", "requests", "app.limits", "app.services", "app.schemas", *WIRING),
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
    """`from app import metrics` gets a module beside it; all else that the package `app` has is the factory's."""
    tree = ast.parse((ROOT / path).read_text())
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {f"app.{alias.name}" for node in nodes if getattr(node, "module", "") == "app" for alias in node.names}
    assert names <= MODULES
    assert "app" not in {alias.name for node in nodes for alias in node.names}


def test_the_rule_sees_every_room() -> None:
    """A renamed folder must not make its rule true for nothing."""
    for room in FORBIDDEN:
        assert any(path.is_relative_to(room) for path in FILES), room
