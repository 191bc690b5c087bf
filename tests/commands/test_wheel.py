"""The wheel has everything that `flask --app wsgi` needs, migrations included."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.processes import ROOT, environment

SOURCES = ("app", "wsgi.py", "setup.cfg", "setup.py", "requirements.txt", "README.md")
BUILD = "from setuptools import build_meta; build_meta.build_wheel('dist')"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the contents of the wheel. It is built from a copy, because a build writes beside its sources."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    for name in SOURCES:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, source / name)
    run(source, "-c", BUILD)
    [wheel] = (source / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def run(folder: Path, *arguments: str, **variables: str) -> str:
    """Run Python in `folder`; the repository is not on its path."""
    ended = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment(PYTHONPATH=str(folder), **variables),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_wheel_has_every_file_of_the_app(installed: Path) -> None:
    def files(root: Path) -> set[str]:
        found = (path.relative_to(root) for path in (root / "app").rglob("*") if path.is_file())
        return {str(path) for path in found if "__pycache__" not in path.parts}

    assert files(installed) == files(ROOT)


def test_database_is_upgraded_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    [app_file] = run(installed, "-c", "import app; print(app.__file__)").splitlines()
    assert Path(app_file).is_relative_to(installed)
    assert str(ROOT) not in run(installed, "-c", "import sys; print(*sys.path)").split()
    url = f"sqlite:///{tmp_path / 'amux.db'}"
    for command in ("upgrade", "check"):
        printed = run(installed, "-m", "flask", "--app", "wsgi", "db", command, DATABASE_URL=url)
        assert printed == "The database's schema is up to date.\n"
