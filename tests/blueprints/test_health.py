from flask.testing import FlaskClient

from tests.support.fake_minimax import FakeMinimax


def test_health_needs_no_key_and_does_not_call_minimax(client: FlaskClient, upstream: FakeMinimax) -> None:
    del client.environ_base["HTTP_AUTHORIZATION"]
    for path, body in (("/healthz", {"status": "ok"}), ("/readyz", {"status": "ready"})):
        response = client.get(path)
        assert (response.status_code, response.get_json()) == (200, body)
        assert response.headers["x-request-id"]
    assert upstream.connections == 0
