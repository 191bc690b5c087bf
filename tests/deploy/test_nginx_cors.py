"""CORS through nginx: it passes preflights on, and allowed origins may read its own errors too."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.raw_http import GENERATIONS, ask, generation, head
from tests.support import processes
from tests.support.fake_minimax import start_fake_minimax
from tests.support.nginx import needs_nginx, nginx
from tests.support.processes import HOST, free_port

pytestmark = needs_nginx
ORIGIN = "https://app.example"
EXAMPLE = '# "https://app.example" $http_origin;'
LISTED = {EXAMPLE: EXAMPLE.removeprefix("# ")}
ALL = {f'default "";\n    {EXAMPLE}': 'default "*";'}
HTTP_HOST = f"http://{HOST}"


def test_a_preflight_passes_through(tmp_path: Path) -> None:
    with (
        start_fake_minimax() as upstream,
        processes.gateway(tmp_path, upstream.url, AMUX_CORS_ORIGINS=ORIGIN) as gateway,
        nginx(tmp_path, gateway.url, changes=LISTED) as front,
    ):
        preflight = (f"Origin: {ORIGIN}", "Access-Control-Request-Method: POST")
        reply = ask(front.url, head("OPTIONS", GENERATIONS, *preflight, key=None), "OPTIONS")
        assert (reply.status, reply.body) == (204, b"")
        assert reply.headers["access-control-allow-origin"] == ORIGIN
        assert "POST" in reply.headers["access-control-allow-methods"]
        reply = ask(front.url, generation("a", f"Origin: {ORIGIN}"))
        assert (reply.status, reply.headers["access-control-allow-origin"]) == (200, ORIGIN)


@pytest.mark.parametrize(
    ("changes", "origin", "allowed"),
    [
        (LISTED, ORIGIN, ORIGIN),
        (LISTED, "https://other.example", None),
        (LISTED, "https://app.example.other.example", None),
        (LISTED, None, None),
        (ALL, ORIGIN, "*"),
        (ALL, "null", "*"),
        ({}, ORIGIN, None),
    ],
)
def test_an_allowed_origin_may_read_nginxs_own_errors(
    tmp_path: Path, changes: dict[str, str], origin: str | None, allowed: str | None
) -> None:
    """If a browser cannot read `x-should-retry`, the SDK retries a call that may have been charged."""
    with nginx(tmp_path, f"{HTTP_HOST}:{free_port()}", changes=changes) as front:
        reply = ask(front.url, generation("a", *([f"Origin: {origin}"] if origin else [])))
    assert (reply.status, reply.headers.get("access-control-allow-origin")) == (502, allowed)
    exposed = reply.headers.get("access-control-expose-headers", "")
    assert ("x-should-retry" in exposed) == (allowed is not None)
    assert reply.headers["vary"] == "Origin"
