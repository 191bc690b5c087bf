"""Pages: their exact headers, what a browser keeps of them, and that they are nobody's session."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from flask.testing import FlaskClient

from app.pages.page import PAGES
from tests.conftest import MakeClient

PATHS = [page.path for page in PAGES]
HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; "
        "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-cache",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Links(HTMLParser):
    """`urls` that a page names, and what its policy would not let run: attributes and elements with code in them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.inline: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.urls += [value for name in ("src", "href") if (value := named.get(name))]
        self.inline += [name for name in named if name == "style" or name.startswith("on")]
        if tag == "style" or (tag == "script" and "src" not in named):
            self.inline.append(tag)


def test_the_pages_are_these() -> None:
    assert PATHS == ["/", "/usage", "/docs"]


@pytest.mark.parametrize("path", PATHS)
def test_a_page_has_exactly_these_headers_and_no_cookie(visitor: FlaskClient, path: str) -> None:
    response = visitor.get(path)
    assert response.status_code == 200
    others = {"Content-Length", "Date", "ETag", "x-request-id"}
    assert {name: value for name, value in response.headers.items() if name not in others} == HEADERS
    assert visitor.head(path).headers["ETag"] == response.headers["ETag"]


@pytest.mark.parametrize("path", PATHS)
def test_a_page_is_sent_once(visitor: FlaskClient, path: str) -> None:
    tag = visitor.get(path).headers["ETag"]
    again = visitor.get(path, headers={"If-None-Match": tag})
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", tag)
    assert again.headers["Content-Security-Policy"] == HEADERS["Content-Security-Policy"]
    assert visitor.get(path, headers={"If-None-Match": '"another"'}).status_code == 200


@pytest.mark.parametrize("path", PATHS)
def test_everything_that_a_page_names_is_served_here(visitor: FlaskClient, path: str) -> None:
    links = Links(visitor.get(path).text)
    assert links.inline == []
    assert len(links.urls) > 3
    for url in links.urls:
        assert re.match("/(?!/)", url), url
        assert visitor.get(url).status_code == 200, url


@pytest.mark.parametrize("path", PATHS)
def test_a_page_is_the_same_for_everybody(client: FlaskClient, path: str) -> None:
    with_key = client.get(f"{path}?key=<img onerror=alert(1)>", headers={"Cookie": "a=b", "Host": "evil.example"})
    del client.environ_base["HTTP_AUTHORIZATION"]
    assert client.get(path).data == with_key.data


@pytest.mark.parametrize("path", [*PATHS, "/openapi.json"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_a_page_is_only_read(visitor: FlaskClient, method: str, path: str) -> None:
    response = visitor.open(path, method=method)
    assert response.status_code == 405
    assert response.get_json()["error"]["code"] == "method_not_allowed"
    assert response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("path", [*PATHS, "/openapi.json", "/assets/any/common/page.css"])
def test_without_pages_there_is_only_the_api(make_client: MakeClient, path: str) -> None:
    client = make_client(pages=False)
    response = client.get(path)
    assert (response.status_code, response.get_json()["error"]["code"]) == (404, "not_found")
    assert client.get("/v1/models").status_code == 200
    assert client.get("/healthz").status_code == 200


def test_a_visit_is_no_image_request(client: FlaskClient) -> None:
    recorded: list[str] = []
    client.application.extensions["record_usage"] = lambda _context, endpoint, _status: recorded.append(endpoint)
    for path in (*PATHS, "/openapi.json", "/assets/any/common/page.css"):
        assert client.get(path).status_code == 200
    assert recorded == []
    client.post("/v1/images/generations", json={})
    assert recorded == ["/v1/images/generations"]
