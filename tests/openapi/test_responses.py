"""What a gateway really answers is as documented: bodies, headers, codes; of successes and of each kind of error."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from flask.testing import FlaskClient

from app.minimax.error_codes import STATUS_CODES
from app.storage.api_keys import ApiKeyStore
from app.storage.database import Database
from tests.conftest import AUTH, MakeClient
from tests.docs.test_api import CALLERS_OWN
from tests.openapi.served import answer_of, answer_of_test, served_document
from tests.support.databases import ScratchDatabase
from tests.support.fake_minimax import FakeMinimax, respond
from tests.support.kept_images import KeepingGateway, id_of
from tests.support.openapi import Answer, Document
from tests.support.processes import Served
from tests.support.request_encodings import BASE, GENERATIONS

TASKS = "/v1/images/tasks"
FAULTS = ("html", "reset", "half", "withheld=1", "77777", "misspelt")


def ask(served: Served, method: str, path: str, **more: Any) -> Answer:
    """A request to the gateway, whose response is as documented."""
    response = requests.request(method, served.url + path, timeout=60, **{"headers": AUTH} | more)
    answer = answer_of(response)
    served_document(served).check(method, path.partition("?")[0], answer)
    return answer


@pytest.mark.parametrize("word", [*map(str, STATUS_CODES), *FAULTS])
def test_every_error_of_minimax_is_as_documented(served: Served, word: str) -> None:
    answer = ask(served, "POST", GENERATIONS, json=BASE | {"prompt": f"sandbox:{word}"})
    assert answer.status >= 400


def test_a_body_with_a_content_encoding_is_as_documented(served: Served) -> None:
    encoded = AUTH | {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = ask(served, "POST", GENERATIONS, data=b"{}", headers=encoded)
    assert (answer.status, answer.headers["Accept-Encoding"]) == (415, "identity")


@pytest.mark.parametrize("code", [code for code in CALLERS_OWN if code != "not_found"])
def test_every_error_of_the_caller_is_as_documented(client: FlaskClient, code: str) -> None:
    sent = {"path": GENERATIONS, "method": "POST"} | CALLERS_OWN[code]
    response = client.open(**sent)
    assert response.get_json()["error"]["code"] == code
    document = Document(client.get("/openapi.json").get_json())
    if code == "method_not_allowed":  # no operation has the method of that request
        assert document.faults({"$ref": "#/components/schemas/Error"}, response.get_json()) == []
        return
    document.check(sent["method"], sent["path"], answer_of_test(response))


def test_tasks_are_as_documented(served: Served) -> None:
    begun = ask(served, "POST", f"{GENERATIONS}/async", json=BASE)
    preferred = ask(served, "POST", GENERATIONS, json=BASE, headers=AUTH | {"Prefer": "respond-async"})
    assert (begun.status, preferred.status) == (202, 202)
    completed = ask(served, "GET", f"{begun.headers['Location']}?wait=20")
    assert (completed.body["status"], len(completed.body["result"]["data"])) == ("completed", 1)
    listed = ask(served, "GET", f"{TASKS}?limit=2")
    assert {task["object"] for task in listed.body["data"]} == {"image.task"}
    slow = ask(served, "POST", f"{GENERATIONS}/async", json=BASE | {"prompt": "sandbox:slow=2"})
    assert ask(served, "GET", slow.headers["Location"]).body["status"] in ("queued", "in_progress")
    rejected = ask(served, "POST", f"{GENERATIONS}/async", json=BASE | {"prompt": "sandbox:1026"})
    failed = ask(served, "GET", f"{rejected.headers['Location']}?wait=20")
    assert (failed.body["status"], failed.body["error"]["http_status"]) == ("failed", 403)
    assert ask(served, "DELETE", rejected.headers["Location"]).status == 409
    assert ask(served, "GET", f"{TASKS}/unknown").status == 404
    assert ask(served, "GET", f"{TASKS}?limit=0").status == 400


def test_the_data_of_an_event_is_as_documented(served: Served) -> None:
    response = requests.post(
        f"{served.url}{GENERATIONS}", json=BASE | {"stream": True, "n": 2}, headers=AUTH, timeout=60
    )
    data = [json.loads(line.removeprefix("data: ")) for line in response.text.splitlines() if line.startswith("data: ")]
    assert len(data) == 2
    for event in data:
        assert served_document(served).faults({"$ref": "#/components/schemas/ImageEvent"}, event) == []


def test_an_idempotency_key_is_as_documented(served: Served) -> None:
    headers = AUTH | {"Idempotency-Key": "as documented"}
    first, again = (ask(served, "POST", GENERATIONS, json=BASE, headers=headers) for _ in range(2))
    assert (again.status, again.headers["idempotent-replayed"]) == (200, "true")
    assert again.body == first.body
    assert ask(served, "POST", GENERATIONS, json=BASE | {"n": 2}, headers=headers).status == 422
    for key in ("a" * 256, "é"):
        rejected = ask(
            served, "POST", GENERATIONS, json=BASE, headers=AUTH | {"Idempotency-Key": key.encode("latin-1")}
        )
        assert rejected.status == 400


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/models", 200),
        ("/v1/models/image-01", 200),
        ("/v1/models/dall-e-3", 404),
        ("/healthz", 200),
        ("/readyz", 200),
        ("/metrics", 200),
        ("/openapi.json", 200),
    ],
)
def test_what_is_read_is_as_documented(served: Served, path: str, status: int) -> None:
    assert ask(served, "GET", path).status == status


# With a database


@pytest.fixture
def priced(make_client: MakeClient, test_db: ScratchDatabase, tmp_path: Path) -> Iterator[FlaskClient]:
    client = make_client(
        api_keys=(),
        database_url=test_db.url,
        prices={"MiniMax-Image-01": 100},
        journal_folder=str(tmp_path / "journal"),
    )
    yield client
    client.application.extensions["storage"].database.engine.dispose()


@pytest.mark.parametrize("test_db", ["sqlite"], indirect=True)
def test_usage_prices_and_limits_are_as_documented(
    priced: FlaskClient, database: Database, upstream: FakeMinimax
) -> None:
    document = Document(priced.get("/openapi.json").get_json())
    keys = ApiKeyStore(database)
    limited, poor = keys.create("limited", requests_per_minute=1, images_per_minute=5), keys.create("poor", balance=100)

    def ask(method: str, path: str, secret: str, **more: Any) -> Answer:
        answer = answer_of_test(priced.open(path, method=method, headers={"Authorization": f"Bearer {secret}"}, **more))
        document.check(method, path.partition("?")[0], answer)
        return answer

    too_many = ask("POST", GENERATIONS, limited, json=BASE | {"n": 6})  # can never be admitted
    assert (too_many.body["error"]["code"], too_many.headers["x-should-retry"]) == ("rate_limit_exceeded", "false")
    assert "Retry-After" not in too_many.headers
    for secret, code in ((limited, "rate_limit_exceeded"), (poor, "insufficient_balance")):
        assert ask("POST", GENERATIONS, secret, json=BASE).status == 200
        assert ask("POST", GENERATIONS, secret, json=BASE).body["error"]["code"] == code
        assert ask("POST", GENERATIONS, secret, json={}).status == 400
        assert len(ask("GET", "/v1/usage/requests", secret).body["data"]) == (4 if secret == limited else 3)
        assert ask("GET", "/v1/usage/requests?limit=1", secret).body["next"]
        assert ask("GET", "/v1/usage", secret).body["data"]
    assert ask("GET", "/v1/usage?start=x", poor).status == 400
    assert ask("GET", "/v1/models", poor).body["data"][0]["pricing"]["per_image_micro_units"] == 100
    upstream.script = respond({"base_resp": {"status_code": 1026, "status_msg": "no"}})
    assert ask("POST", GENERATIONS, keys.create("rich", balance=100), json=BASE).status == 403


# With an image store


def test_images_that_are_kept_are_as_documented(file_gateway: KeepingGateway) -> None:
    document = served_document(file_gateway.gateway)
    path = file_gateway.keep()

    def check(method: str, path: str, response: requests.Response) -> int:
        document.check(method, path, answer_of(response))
        return response.status_code

    found = file_gateway.get(path)
    assert check("GET", path, found) == 200
    assert check("GET", path, file_gateway.get(path, Range="bytes=0-1")) == 206
    assert check("GET", path, file_gateway.get(path, **{"If-None-Match": found.headers["ETag"]})) == 304
    assert check("GET", path, file_gateway.get(path, Range="bytes=999999999-")) == 416
    deleted = f"/v1/images/{id_of(path)}"
    assert check("DELETE", deleted, file_gateway.delete(id_of(path), key=None)) == 401
    assert check("DELETE", deleted, file_gateway.delete(id_of(path))) == 200
    assert check("DELETE", deleted, file_gateway.delete(id_of(path))) == 404
    assert check("GET", path, file_gateway.get(path)) == 404
