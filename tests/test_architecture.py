"""Imports run one way: server, blueprints → web → schemas → services; minimax and storage stand beside them."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT

FILES = sorted(path.relative_to(ROOT) for path in (ROOT / "app").rglob("*.py"))
MODULES = {f"app.{path.parts[1].removesuffix('.py')}" for path in FILES}
WEB = ("flask", "flask_cors", "werkzeug", "requests")
# Folders that depend on HTTP and gunicorn. Lower layers must not import them.
SETTINGS = ("app.settings", "app.settings_parsers", "app.settings_table")
EDGE = ("app.server", "app.blueprints", "app.web", "app.commands", "app.components", *SETTINGS)
BELOW_METRICS = ("app.metrics", "prometheus_client")

# A module under the path on the left imports nothing that begins with a name on the right.
FORBIDDEN = {
    "app/services": (
        *WEB,
        "sqlalchemy",
        "app.minimax",
        "app.storage",
        "app.limits",
        "app.schemas",
        *EDGE,
    ),
    "app/minimax": ("flask", "werkzeug", "app.schemas", "app.storage", "app.limits", *EDGE, *BELOW_METRICS),
    "app/schemas": ("flask", "requests", "app.minimax", "app.blueprints", "app.web"),
    "app/web": ("requests", "app.minimax", "app.blueprints"),
    "app/blueprints": ("requests", "app.minimax"),
    "app/openapi": (
        "requests",
        "sqlalchemy",
        "app.minimax",
        "app.storage",
        "app.limits",
        "app.pacing",
        "app.tasks",
        "app.delivery",
        "app.commands",
        "app.components",
    ),
    "app/spooling": (*WEB, "app.minimax", "app.services", "app.schemas", *EDGE, *BELOW_METRICS),
    "app/accounts": (*WEB, "sqlalchemy", "app.services", "app.minimax", "app.schemas", *EDGE),
    "app/limits": (
        *WEB,
        "sqlalchemy",
        "app.storage",
        "app.services",
        "app.minimax",
        "app.schemas",
        *EDGE,
    ),
    "app/pacing": (
        *WEB,
        "sqlalchemy",
        "app.storage",
        "app.limits",
        "app.services",
        "app.minimax",
        "app.schemas",
        *EDGE,
    ),
    "app/storage": (*WEB, "app.limits", "app.services", "app.minimax", "app.schemas", *EDGE),
    "app/image_store": (
        *WEB,
        "botocore",
        "sqlalchemy",
        "app.accounts",
        "app.storage",
        "app.limits",
        "app.services",
        "app.minimax",
        "app.schemas",
        *EDGE,
    ),
    "app/objects": (
        *WEB,
        "sqlalchemy",
        "app.accounts",
        "app.storage",
        "app.limits",
        "app.services",
        "app.minimax",
        "app.schemas",
        *EDGE,
        *BELOW_METRICS,
    ),
    "app/metrics.py": (*WEB, "app.minimax", "app.services"),
    "app/model_catalog.py": (*WEB, "app."),
    "app/errors.py": (*WEB, "app."),
    "app/settings_table.py": (*WEB, "app."),
    "app/settings_parsers.py": (*WEB, "app.errors", "app.storage", "app.limits"),
    "app/sandbox": ("app.minimax", "app.services", "app.schemas", "app.accounts", *EDGE, *BELOW_METRICS),
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


def test_every_rule_applies_to_a_file() -> None:
    """A renamed folder does not leave its rule without effect."""
    for room in FORBIDDEN:
        assert any(path.is_relative_to(room) for path in FILES), room


def test_no_two_folders_import_each_other() -> None:
    arrows: set[tuple[str, str]] = set()
    for path in FILES:
        for name in imported_by(path):
            if name.startswith("app.") and len(path.parts) > 2 and path.parts[1] != name.split(".")[1]:
                arrows.add((path.parts[1], name.split(".")[1]))
    assert {(a, b) for a, b in arrows if (b, a) in arrows} == set()


def test_pages_import_the_standard_library_only() -> None:
    pages = [path for path in FILES if path.is_relative_to("app/pages")]
    names = {name for path in pages for name in imported_by(path)}
    assert {name.split(".")[0] for name in names if not name.startswith("app.pages")} <= sys.stdlib_module_names
