"""The sandbox's keys and limits: as variables, and over a real socket."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import requests

from app.sandbox.accounts import Accounts, AccountsError
from tests.support import processes
from tests.support.processes import ROOT, UPSTREAM_KEY, environment, free_port, procfile_command

POOL = {"MINIMAX_API_KEYS": "one:20,two:0,three"}
SEVERAL = frozenset({"one", "two", "three"})
GOOD: list[tuple[dict[str, str], Accounts]] = [
    ({"MINIMAX_API_KEY": "one"}, Accounts.of("one")),
    ({"MINIMAX_API_KEY": "a:b,c"}, Accounts.of("a:b,c")),
    (POOL, Accounts(SEVERAL)),
    (POOL | {"MINIMAX_API_KEY": "four", "SANDBOX_PORT": "9000"}, Accounts(SEVERAL | {"four"})),
    (POOL | {"MINIMAX_API_KEY": "", "SANDBOX_REQUESTS_PER_MINUTE": "10"}, Accounts(SEVERAL, requests_per_minute=10)),
    (POOL | {"SANDBOX_REQUESTS_PER_MINUTE": "0"}, Accounts(SEVERAL)),
    (POOL | {"SANDBOX_EMPTY_KEYS": "one,three"}, Accounts(SEVERAL, empty=frozenset({"one", "three"}))),
    (POOL | {"SANDBOX_REFUSED_KEYS": "two"}, Accounts(SEVERAL, refused=frozenset({"two"}))),
    (
        POOL | {"SANDBOX_EMPTY_KEYS": "", "SANDBOX_REFUSED_KEYS": "", "SANDBOX_REQUESTS_PER_MINUTE": ""},
        Accounts(SEVERAL),
    ),
]


@pytest.mark.parametrize(("variables", "accounts"), GOOD, ids=[str(variables) for variables, _ in GOOD])
def test_variables_become_accounts(variables: dict[str, str], accounts: Accounts) -> None:
    assert Accounts.from_environment({"PATH": "/bin"} | variables) == accounts


BAD = [
    *(
        ("SANDBOX_REQUESTS_PER_MINUTE", value)
        for value in ("ten", "-1", "1.5", " 10", "1e3", "１０", "1000000", "secret")
    ),
    *(("SANDBOX_EMPTY_KEYS", value) for value in ("secret", "one,secret", "one:20", "one,", ",", " one", "ONE", "o")),
    *(("SANDBOX_REFUSED_KEYS", value) for value in ("secret", "two;three", "two ")),
    ("SANDBOX_RPM", "secret"),
    ("SANDBOX_EMPTY_KEY", "one"),
    ("SANDBOX_REFUSED_KEYS", "three"),  # which is empty below
    ("MINIMAX_API_KEYS", ""),
    ("MINIMAX_API_KEYS", ",:20"),
]


@pytest.mark.parametrize(("name", "value"), BAD, ids=str)
def test_a_wrong_variable_is_named_in_one_line_without_its_value(name: str, value: str) -> None:
    with pytest.raises(AccountsError) as caught:
        Accounts.from_environment(POOL | {"SANDBOX_EMPTY_KEYS": "three"} | {name: value})
    message = str(caught.value)
    assert name in message
    assert "\n" not in message
    assert "secret" not in message


@pytest.mark.parametrize(
    "variables", [{"SANDBOX_REQUESTS_PER_MINUTE": "soon"}, {"SANDBOX_EMPTY_KEYS": "secretly"}, {"SANDBOX_RATE": "1"}]
)
def test_a_wrong_variable_stops_the_start_with_one_line(variables: dict[str, str]) -> None:
    chosen = {"SANDBOX_PORT": str(free_port()), "MINIMAX_API_KEY": UPSTREAM_KEY} | variables
    ended = subprocess.run(
        procfile_command("sandbox").split(),
        cwd=ROOT,
        env=environment(**chosen),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert next(iter(variables)) in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert "secretly" not in ended.stderr


def draw(url: str, key: str, **fields: Any) -> tuple[int, int]:
    body = {"model": "image-01", "prompt": "A lighthouse", "width": 512, "height": 512, **fields}
    headers = {"Authorization": f"Bearer {key}"}
    response = requests.post(f"{url}/v1/image_generation", json=body, headers=headers, timeout=30)
    assert ("data" in response.json()) == (response.json()["base_resp"]["status_code"] == 0)
    assert key not in response.text
    return response.status_code, response.json()["base_resp"]["status_code"]


def test_each_key_has_its_account(tmp_path: Path) -> None:
    variables = {
        "MINIMAX_API_KEY": "first-key",
        "MINIMAX_API_KEYS": "second-key:20,empty-key,refused-key",
        "SANDBOX_REQUESTS_PER_MINUTE": "2",
        "SANDBOX_EMPTY_KEYS": "empty-key",
        "SANDBOX_REFUSED_KEYS": "refused-key",
    }
    with processes.sandbox(tmp_path, **variables) as sandbox:
        assert [draw(sandbox.url, "first-key") for _ in range(4)] == [(200, 0), (200, 0), (200, 1002), (200, 1002)]
        assert draw(sandbox.url, "second-key", n=10) == (200, 2013)  # a call that is wrong is a call too
        assert [draw(sandbox.url, "second-key") for _ in range(2)] == [(200, 0), (200, 1002)]
        assert [draw(sandbox.url, "empty-key") for _ in range(3)] == [(200, 1008)] * 3
        assert [draw(sandbox.url, "refused-key") for _ in range(3)] == [(200, 1004)] * 3
        assert draw(sandbox.url, "second-key:20") == (200, 1004)
        assert requests.get(f"{sandbox.url}/healthz", timeout=10).ok
