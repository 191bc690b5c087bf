"""Assets: kept under the current digest, and no file but those of the folders."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask.testing import FlaskClient

from app.pages.assets import CONTENT_TYPES, FOLDERS, Assets

CURRENT = Assets().version
TYPES = {
    "common/page.css": "text/css; charset=utf-8",
    "common/icon.svg": "image/svg+xml; charset=utf-8",
    "docs/main.js": "text/javascript; charset=utf-8",
    "swagger-ui.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
}


@pytest.mark.parametrize(("name", "content_type"), TYPES.items(), ids=TYPES)
def test_an_asset_has_its_type_and_is_kept_for_a_year(visitor: FlaskClient, name: str, content_type: str) -> None:
    response = visitor.get(f"/assets/{CURRENT}/{name}")
    assert (response.status_code, response.content_type) == (200, content_type)
    assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "Set-Cookie" not in response.headers
    assert visitor.head(f"/assets/{CURRENT}/{name}").headers["Content-Length"] == str(len(response.data))


def test_an_asset_of_another_version_is_asked_for_again(visitor: FlaskClient) -> None:
    url = "/assets/0123456789abcdef/common/page.css"
    first = visitor.get(url)
    assert (first.status_code, first.headers["Cache-Control"]) == (200, "no-cache")
    again = visitor.get(url, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


@pytest.mark.parametrize(
    "name",
    [
        *(
            "nothing.js",
            "common",
            "common/",
            "common//page.css",
            "/common/page.css",
            "common/page.css/",
            "common/./page.css",
        ),
        *(
            "common/../docs/main.js",
            "../page.py",
            "../../settings.py",
            "common/%2e%2e/docs/main.js",
            "common%2fpage.css%00",
        ),
        *(
            "..%2f..%2fsettings.py",
            "%2fetc%2fpasswd",
            "/etc/passwd",
            "common\\page.css",
            "COMMON/page.css",
            "layout.html",
        ),
        *("swagger-ui.js/LICENSE", "swagger-ui.js.map", "page.py"),
    ],
)
def test_no_other_file_is_served(visitor: FlaskClient, name: str) -> None:
    response = visitor.get(f"/assets/{CURRENT}/{name}")
    assert (response.status_code, response.get_json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize("path", ["/assets", "/assets/", f"/assets/{CURRENT}", f"/assets/{CURRENT}/"])
def test_there_is_no_list_of_assets(visitor: FlaskClient, path: str) -> None:
    assert visitor.get(path).status_code == 404


def test_every_file_of_the_pages_has_a_type_that_is_served() -> None:
    files = [path for folder in FOLDERS.values() for path in folder.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= set(CONTENT_TYPES)


def test_the_version_changes_with_a_file_and_with_a_name(tmp_path: Path) -> None:
    def version() -> str:
        return Assets({"a": tmp_path}).version

    file = tmp_path / "x.js"
    file.write_text("1")
    (tmp_path / "notes.txt").write_text("not served")
    first = version()
    file.write_text("2")
    changed = version()
    file.write_text("1")
    assert version() == first != changed
    file.rename(tmp_path / "y.js")
    assert version() not in (first, changed)
    assert Assets({"a": tmp_path}).find("a/notes.txt") is None
