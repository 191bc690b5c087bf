"""Pages through the shipped nginx.conf: their headers pass, and only what is the same for everybody is compressed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from tests.support.nginx import needs_nginx, nginx
from tests.support.processes import API_KEY, Served

pytestmark = needs_nginx
GZIP = {"Accept-Encoding": "gzip"}
PASSED = ("Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy", "Cache-Control", "Content-Type")


@pytest.fixture(scope="module")
def front(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with nginx(tmp_path_factory.mktemp("front"), served.url) as front:
        yield front.url


def get(url: str, **headers: str) -> requests.Response:
    return requests.get(url, headers=GZIP | headers, timeout=10)


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/assets/any/swagger-ui.js", "/assets/any/swagger-ui.css"])
def test_pages_pass_and_are_compressed(served: Served, front: str, path: str) -> None:
    plain, packed = get(served.url + path), get(front + path)
    assert (packed.status_code, packed.headers["Content-Encoding"]) == (200, "gzip")
    assert packed.content == plain.content
    assert "Accept-Encoding" in packed.headers["Vary"]
    assert [packed.headers.get(name) for name in PASSED] == [plain.headers.get(name) for name in PASSED]


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/assets/any/swagger-ui.css"])
def test_what_a_browser_has_is_not_sent_again(front: str, path: str) -> None:
    tag = get(front + path).headers["ETag"]
    again = get(front + path, **{"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["/v1/models", f"/v1/models/{'x' * 2000}"], ids=["models", "long error"])
def test_no_response_of_the_api_is_compressed(front: str, path: str) -> None:
    response = get(front + path, Authorization=f"Bearer {API_KEY}")
    assert response.headers["Content-Type"] == "application/json"
    assert "Content-Encoding" not in response.headers
