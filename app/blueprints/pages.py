"""`/`, `/usage` and `/docs`, and their scripts and styles under `/assets/`. They need no API key."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Flask, Response, render_template, request, send_file
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import NotFound

from app.pages.assets import CONTENT_TYPES, Assets, served_assets
from app.pages.page import FOLDER, HEADERS, PAGES, Page

YEAR_SECONDS = 365 * 24 * 3600


def register_pages(app: Flask) -> None:
    """Register the routes. The pages are the same for everybody."""
    pages = Blueprint("pages", __name__, template_folder=str(FOLDER))
    assets = served_assets()

    @pages.get("/assets/<version>/<path:name>")
    def show_asset(version: str, name: str) -> ResponseReturnValue:
        """A script or style. While a new version is rolled out, a page may ask for the files of another one."""
        path = assets.find(name)
        if path is None:
            raise NotFound
        response = send_file(path, mimetype=CONTENT_TYPES[path.suffix], conditional=True, etag=True)
        is_current = version == assets.version
        response.headers["Cache-Control"] = f"public, max-age={YEAR_SECONDS}, immutable" if is_current else "no-cache"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    for page in PAGES:
        pages.get(page.path, endpoint=page.template.removesuffix(".html"))(_view(page, assets))
    app.register_blueprint(pages)


def _view(page: Page, assets: Assets) -> Callable[[], ResponseReturnValue]:
    def show() -> ResponseReturnValue:
        response = Response(render_template(page.template, assets=f"/assets/{assets.version}"))
        response.headers.update(HEADERS)
        response.add_etag()
        return response.make_conditional(request)

    return show
