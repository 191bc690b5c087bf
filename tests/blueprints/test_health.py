from flask.testing import FlaskClient

from tests.support.fake_minimax import ScriptedServer


def test_health_needs_no_key_and_does_not_call_minimax(client: FlaskClient, upstream: ScriptedServer) -> None:
    del client.environ_base["HTTP_AUTHORIZATION"]
    for path, body in (("/healthz", {"status": "ok"}), ("/readyz", {"status": "ready"})):
        answer = client.get(path)
        assert (answer.status_code, answer.get_json()) == (200, body)
        assert answer.headers["x-request-id"]
    assert upstream.connections == 0
