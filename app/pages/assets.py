"""Assets: the scripts and styles of the pages, served under a digest of all of them, so that browsers may keep them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path

from app.pages.page import FOLDER


def _of_package(package: str, path: str) -> Path:
    return Path(str(files(package) / path))


# Folders of files, and single files, by the first segment of their URLs. Those of packages stay where pip has put them.
FOLDERS: Mapping[str, Path] = {
    **{name: FOLDER / "assets" / name for name in ("common", "playground", "usage", "docs")},
    "chartjs.js": _of_package("chartkick", "django/static/chartkick/Chart.bundle.js"),
    "swagger-ui.js": _of_package("flask_swagger_ui", "dist/swagger-ui-bundle.js"),
    "swagger-ui.css": _of_package("flask_swagger_ui", "dist/swagger-ui.css"),
}

# Types of files that are served. A file of another type is not.
CONTENT_TYPES: Mapping[str, str] = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}


class Assets:
    """`version` changes with each change of a file, and is part of the URLs: relative imports stay as they are."""

    def __init__(self, folders: Mapping[str, Path] = FOLDERS) -> None:
        """The files are listed once, so that a request cannot name another one."""
        self._paths = {name: path for prefix, path in folders.items() for name, path in _files(prefix, path)}
        digest = hashlib.sha256()
        for name, path in self._paths.items():
            digest.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\0".encode())
        self.version = digest.hexdigest()[:16]

    def find(self, name: str) -> Path | None:
        """The file with this name, such as `common/page.css`."""
        return self._paths.get(name)


@cache
def served_assets() -> Assets:
    """Read once in a process: the files do not change while it runs."""
    return Assets()


def _files(prefix: str, path: Path) -> Iterator[tuple[str, Path]]:
    """The name and the path of a file, or of each file in a folder."""
    if path.is_file():
        yield prefix, path
    for each in sorted(path.rglob("*")):
        if each.suffix in CONTENT_TYPES and each.is_file():
            yield f"{prefix}/{each.relative_to(path).as_posix()}", each
