"""Calls over TLS: MiniMax's certificate is verified, and the deadline holds there too."""

from __future__ import annotations

import json
import ssl
import time
from pathlib import Path

import pytest
import trustme

from tests.conftest import MakeClient
from tests.minimax.calls import PROMPT, assert_error, generate
from tests.minimax.listeners import Connection, listening
from tests.support.fake_minimax import http_bytes, success
from tests.support.images import JPEG, data_url
from tests.support.processes import UPSTREAM_KEY

GOOD = http_bytes(json.dumps(success(1)).encode())
DEADLINE_SECONDS = 2.0  # seconds; the handshake has to fit into it on a busy machine


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the gateway trust `authority` instead of the public ones."""
    bundle = tmp_path / "authorities.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(bundle))


def tls(authority: trustme.CA, name: str = "127.0.0.1") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def respond_to_all(connection: Connection) -> None:
    while True:
        connection.read_request()
        connection.socket.sendall(GOOD)


@pytest.mark.usefixtures("trusted")
def test_calls_over_tls_share_a_connection(make_client: MakeClient, authority: trustme.CA) -> None:
    with listening(respond_to_all, tls=tls(authority)) as listener:
        client = make_client(minimax_base_url=listener.url("https"))
        assert [generate(client).status_code for _ in range(3)] == [200, 200, 200]
        assert listener.connections == 1
        assert listener.received.count(b"POST /v1/image_generation") == 3


def assert_not_trusted(make_client: MakeClient, context: ssl.SSLContext) -> None:
    with listening(respond_to_all, tls=context) as listener:
        response = generate(make_client(minimax_base_url=listener.url("https")))
        assert_error(response, 503, "upstream_unreachable", retry=True)
        assert listener.connections >= 1
        assert listener.received == b""


@pytest.mark.usefixtures("trusted")
def test_a_certificate_of_another_host_is_rejected(make_client: MakeClient, authority: trustme.CA) -> None:
    assert_not_trusted(make_client, tls(authority, "minimax.example"))


@pytest.mark.usefixtures("trusted")
def test_a_certificate_of_an_unknown_authority_is_rejected(make_client: MakeClient) -> None:
    assert_not_trusted(make_client, tls(trustme.CA()))


def test_environment_variables_cannot_add_certificate_authorities(
    make_client: MakeClient, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bundle = tmp_path / "authorities.pem"
    authority.cert_pem.write_to_path(str(bundle))
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, str(bundle))
    assert_not_trusted(make_client, tls(authority))


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("spoken", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", b"\x15\x03\x01\x00\x02\x02\x28"])
def test_a_failed_handshake_counts_as_nothing_sent(make_client: MakeClient, spoken: bytes) -> None:
    with listening(lambda connection: connection.socket.sendall(spoken)) as listener:
        response = generate(make_client(minimax_base_url=listener.url("https")))
        assert_error(response, 503, "upstream_unreachable", retry=True)


@pytest.mark.usefixtures("trusted")
def test_a_stalled_handshake_ends_at_the_deadline(make_client: MakeClient) -> None:
    """Neither the key nor the prompt is sent unencrypted."""

    def read_on(connection: Connection) -> None:
        while connection.read():
            pass

    with listening(read_on) as listener:
        client = make_client(minimax_base_url=listener.url("https"), minimax_timeout_seconds=DEADLINE_SECONDS)
        assert_error(generate(client), 503, "upstream_unreachable", retry=True)
        assert listener.connections == 1
        assert UPSTREAM_KEY.encode() not in listener.received
        assert PROMPT.encode() not in listener.received


@pytest.mark.usefixtures("trusted")
def test_a_dripping_response_over_tls_ends_at_the_deadline(make_client: MakeClient, authority: trustme.CA) -> None:
    def respond_slowly(connection: Connection) -> None:
        connection.read_request()
        for byte in GOOD.ljust(5000):
            connection.socket.sendall(bytes([byte]))
            time.sleep(0.02)

    with listening(respond_slowly, tls=tls(authority)) as listener:
        client = make_client(minimax_base_url=listener.url("https"), minimax_timeout_seconds=DEADLINE_SECONDS)
        assert_error(generate(client), 502, "upstream_deadline")
        assert listener.connections == 1


@pytest.mark.usefixtures("trusted")
def test_a_slow_reader_over_tls_ends_at_the_deadline(make_client: MakeClient, authority: trustme.CA) -> None:
    def read_slowly(connection: Connection) -> None:
        while connection.read(16384):
            time.sleep(0.02)

    image = data_url(JPEG.ljust(6 * 1024 * 1024, b"\0"))
    reference = [{"type": "character", "image_file": image}]
    with listening(read_slowly, tls=tls(authority), receive_buffer=4096) as listener:
        client = make_client(minimax_base_url=listener.url("https"), minimax_timeout_seconds=DEADLINE_SECONDS)
        assert_error(generate(client, subject_reference=reference), 502, "upstream_deadline")
        assert (listener.connections, len(listener.received) < len(image)) == (1, True)
