"""`keys …`: what each command does and prints, and its errors."""

from __future__ import annotations

import csv
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.accounts.api_key import Caller, fingerprint
from app.accounts.key_limits import KeyLimits
from app.errors import InvalidApiKey
from app.storage.api_key_cache import CachedAuthenticator
from app.storage.api_keys import ApiKeyStore
from app.storage.database import Database
from app.storage.ledger import Ledger
from tests.commands.conftest import Operator, document, failure, misuse, printed


def caller_of(database: Database, secret: str) -> Caller:
    return CachedAuthenticator(ApiKeyStore(database)).authenticate(secret)


def create(operator: Operator, *arguments: str) -> str:
    api_key: str = document(operator("keys", "create", "--json", *arguments))["api_key"]
    return api_key


def shown(operator: Operator, name: str) -> dict[str, Any]:
    row: dict[str, Any] = document(operator("keys", "show", name, "--json"))
    return row


def test_stdout_of_create_is_the_secret(operator: Operator, database: Database) -> None:
    result = operator("keys", "create", "--name", "harbour")
    assert result.exit_code == 0
    assert re.fullmatch(r"amux_sk_[\w-]{43}\n", result.stdout)
    assert result.stderr == "The key is on stdout. It cannot be shown again.\n"
    assert caller_of(database, result.stdout.strip()).key_id is not None


def test_secret_is_not_stored_and_not_shown_again(operator: Operator, database: Database) -> None:
    secret = create(operator, "--name", "harbour")
    rest = secret[14:]
    for arguments in (
        ("list",),
        ("list", "--json"),
        ("list", "--csv"),
        ("show", "harbour"),
        ("show", "harbour", "--json"),
    ):
        assert rest not in printed(operator("keys", *arguments))
    [key] = ApiKeyStore(database).all()
    assert rest not in str(vars(key))


def test_options_of_create_are_those_of_the_caller(operator: Operator, database: Database) -> None:
    soon = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)
    made = operator(
        *("keys", "create", "--json"),
        *("--name", "Hafen GmbH", "--models", "image-01, IMAGE-01-live,image-01", "--rpm", "60", "--ipm", "10"),
        *("--max-calls", "3", "--balance", "0", "--expires", soon.isoformat(), "--response-format", "b64_json"),
    )
    secret = json.loads(made.stdout)["api_key"]
    models = ["MiniMax-Image-01", "MiniMax-Image-01-live"]
    caller = caller_of(database, secret)
    assert caller == Caller(
        fingerprint(secret),
        caller.key_id,
        frozenset(models),
        KeyLimits(requests_per_minute=60, images_per_minute=10, max_calls=3),
        "b64_json",
    )
    row = shown(operator, "Hafen GmbH")
    assert datetime.fromisoformat(row.pop("created_at")) <= datetime.now(UTC)
    assert row == {
        "name": "Hafen GmbH",
        "prefix": secret[:14],
        "caller": fingerprint(secret),
        "state": "active",
        "balance": 0,
        "requests_per_minute": 60,
        "images_per_minute": 10,
        "max_calls": 3,
        "models": models,
        "response_format": "b64_json",
        "expires_at": soon.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "revoked_at": None,
    }
    assert shown(operator, secret[:14])["name"] == "Hafen GmbH"


def test_key_is_unlimited_by_default(operator: Operator, database: Database) -> None:
    secret = create(operator, "--name", "harbour")
    caller = caller_of(database, secret)
    assert caller == Caller(fingerprint(secret), caller.key_id)
    assert shown(operator, "harbour")["balance"] is None
    lines = dict(line.split(maxsplit=1) for line in printed(operator("keys", "show", "harbour")).splitlines())
    assert (lines["balance"], lines["max_calls"], lines["models"]) == ("-", "-", "all")


def test_name_in_use_is_an_error(operator: Operator) -> None:
    create(operator, "--name", "harbour")
    assert failure(operator("keys", "create", "--name", "harbour")) == "There is already a key harbour."
    assert len(document(operator("keys", "list", "--json"))) == 1


BAD = [
    ("--rpm", "0"),
    ("--rpm", "1.5"),
    ("--ipm", "-1"),
    ("--ipm", "ten"),
    ("--max-calls", "2147483648"),
    ("--max-calls", "９"),
    ("--models", ""),
    ("--models", "image-02"),
    ("--models", "image-01,"),
    ("--expires", "tomorrow"),
    ("--expires", "2020-01-31"),
    ("--expires", "0001-01-01T00:00+23:00"),
    ("--balance", "-1"),
    ("--balance", "1e3"),
    ("--balance", "10.0"),
    ("--balance", "1000000000000001"),
    ("--balance", "none"),
    ("--response-format", ""),
    ("--response-format", "base64"),
    ("--response-format", "URL"),
    ("--response-format", "url,b64_json"),
    ("--name", ""),
    ("--name", " harbour"),
    ("--name", "a\nb"),
    ("--name", "a" * 201),
    ("--name", "amux_sk_abcdef"),
]


@pytest.mark.parametrize("test_db", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("option", "value"), BAD)
def test_invalid_value_names_its_option(operator: Operator, option: str, value: str) -> None:
    name = () if option == "--name" else ("--name", "harbour")
    assert misuse(operator("keys", "create", *name, option, value)).startswith(f"Invalid value for '{option}': ")
    assert document(operator("keys", "list", "--json")) == []


def test_list_has_every_key_with_its_state(operator: Operator, database: Database) -> None:
    for name in ("harbour", "pass", "snow"):
        create(operator, "--name", name, "--balance", "5")
    printed(operator("keys", "revoke", "pass"))
    ApiKeyStore(database).update("snow", expires_at=datetime.now(UTC))
    states = {row["name"]: row["state"] for row in document(operator("keys", "list", "--json"))}
    assert states == {"harbour": "active", "pass": "revoked", "snow": "expired"}
    rows = list(csv.DictReader(printed(operator("keys", "list", "--csv")).splitlines()))
    assert [(row["name"], row["state"], row["balance"], row["max_calls"]) for row in rows] == [
        ("harbour", "active", "5", ""),
        ("pass", "revoked", "5", ""),
        ("snow", "expired", "5", ""),
    ]
    heading, *lines = printed(operator("keys", "list")).splitlines()
    assert heading.split() == list(rows[0])
    assert [line.split()[0] for line in lines] == ["harbour", "pass", "snow"]


def test_update_changes_only_given_options_and_none_removes_a_limit(operator: Operator, database: Database) -> None:
    secret = create(
        operator, "--name", "harbour", "--rpm", "5", "--ipm", "10", "--models", "image-01", "--expires", "2999-01-31"
    )
    row = document(operator("keys", "update", "harbour", "--rpm", "none", "--max-calls", "2", "--json"))
    assert (row["requests_per_minute"], row["images_per_minute"], row["max_calls"]) == (None, 10, 2)
    assert (row["models"], row["expires_at"]) == (["MiniMax-Image-01"], "2999-01-31T00:00:00Z")
    printed(operator("keys", "update", "harbour", "--models", "all", "--expires", "never", "--ipm", "none"))
    caller = caller_of(database, secret)
    assert caller == Caller(fingerprint(secret), caller.key_id, limits=KeyLimits(max_calls=2))
    assert shown(operator, "harbour")["expires_at"] is None


def test_response_format_is_set_shown_and_removed(operator: Operator, database: Database) -> None:
    secret = create(operator, "--name", "harbour", "--response-format", "url")
    assert caller_of(database, secret).response_format == "url"
    assert shown(operator, "harbour")["response_format"] == "url"
    row = document(operator("keys", "update", "harbour", "--response-format", "b64_json", "--json"))
    assert row["response_format"] == "b64_json"
    printed(operator("keys", "update", "harbour", "--rpm", "5"))
    [row] = document(operator("keys", "list", "--json"))
    assert (row["response_format"], caller_of(database, secret).response_format) == ("b64_json", "b64_json")
    lines = printed(operator("keys", "update", "harbour", "--response-format", "none")).splitlines()
    assert dict(line.split(maxsplit=1) for line in lines)["response_format"] == "-"
    assert caller_of(database, secret).response_format is None


@pytest.mark.parametrize("test_db", ["sqlite"], indirect=True)
@pytest.mark.parametrize("value", ["", "base64", "URL", "None", "url,b64_json"])
def test_bad_response_format_changes_nothing(operator: Operator, value: str) -> None:
    create(operator, "--name", "harbour", "--response-format", "url")
    message = misuse(operator("keys", "update", "harbour", "--response-format", value))
    assert message.startswith("Invalid value for '--response-format': ")
    assert "'url', 'b64_json', 'none'" in message
    assert shown(operator, "harbour")["response_format"] == "url"


@pytest.mark.parametrize("test_db", ["sqlite"], indirect=True)
def test_columns_of_the_table_do_not_change(operator: Operator) -> None:
    """Scripts read them by position."""
    heading = printed(operator("keys", "list", "--csv")).splitlines()[0]
    assert heading == ("name,prefix,state,expires_at,balance,requests_per_minute,images_per_minute,max_calls,models")


def test_empty_models_are_an_error(operator: Operator) -> None:
    create(operator, "--name", "harbour", "--models", "image-01")
    message = misuse(operator("keys", "update", "harbour", "--models", ""))
    assert message.startswith("Invalid value for '--models': expected all, or names out of: ")
    assert shown(operator, "harbour")["models"] == ["MiniMax-Image-01"]


def test_model_that_is_not_enabled_is_a_warning(operator: Operator) -> None:
    message = "Not in AMUX_ENABLED_MODELS here: MiniMax-Image-01-live. A gateway with the same settings rejects it.\n"
    made = operator("keys", "create", "--json", "--name", "harbour", "--models", "image-01,image-01-live")
    assert (made.exit_code, made.stderr, json.loads(made.stdout)["name"]) == (0, message, "harbour")
    changed = operator("keys", "update", "harbour", "--models", "image-01-live", "--json")
    assert (changed.exit_code, changed.stderr) == (0, message)
    assert json.loads(changed.stdout)["models"] == ["MiniMax-Image-01-live"]
    printed(operator("keys", "update", "harbour", "--rpm", "5"))
    printed(operator("keys", "update", "harbour", "--models", "all"))


def test_update_without_options_is_an_error(operator: Operator) -> None:
    create(operator, "--name", "harbour")
    assert failure(operator("keys", "update", "harbour")) == "Nothing to change: see --help."
    assert misuse(operator("keys", "update", "harbour", "--balance", "5")).startswith("No such option")


def test_revocation_is_final(operator: Operator, database: Database) -> None:
    secret = create(operator, "--name", "harbour")
    assert printed(operator("keys", "revoke", "harbour")) == "harbour is revoked.\n"
    first = ApiKeyStore(database).get("harbour").revoked_at
    for known_by in (secret[:14], secret):  # a key is not printed again
        assert printed(operator("keys", "revoke", known_by)) == "harbour is revoked.\n"
    assert ApiKeyStore(database).get("harbour").revoked_at == first
    with pytest.raises(InvalidApiKey):
        caller_of(database, secret)


def test_credit_changes_the_balance_and_prints_it(operator: Operator, database: Database) -> None:
    secret = create(operator, "--name", "harbour", "--balance", "300")
    assert printed(operator("keys", "credit", secret[:14], "50")) == "The balance of harbour is 350.\n"
    assert document(operator("keys", "credit", "harbour", "-350", "--note", "trace-1", "--json")) == {
        "name": "harbour",
        "balance": 0,
    }
    entries = document(operator("ledger", "list", "--json"))
    assert [(entry["amount"], entry["note"]) for entry in entries] == [
        (300, "created"),
        (50, ""),
        (-350, "trace-1"),
    ]
    assert Ledger(database).check() == []


def test_credit_cannot_overdraw(operator: Operator, database: Database) -> None:
    create(operator, "--name", "harbour", "--balance", "1")
    message = failure(operator("keys", "credit", "harbour", "-2"))
    assert message == "The balance of harbour is 1: no more than that can be taken off."
    assert shown(operator, "harbour")["balance"] == 1
    assert Ledger(database).check() == []


def test_first_credit_of_an_unlimited_key_limits_it(operator: Operator, database: Database) -> None:
    for name in ("harbour", "pass"):
        create(operator, "--name", name)
    message = printed(operator("keys", "credit", "harbour", "5"))
    assert message == "harbour spent without limit until now; its balance is 5.\n"
    assert printed(operator("keys", "credit", "harbour", "0")) == "The balance of harbour is 5.\n"
    assert document(operator("keys", "credit", "pass", "5", "--json")) == {"name": "pass", "balance": 5}
    assert Ledger(database).check() == []


@pytest.mark.parametrize("amount", ["0", "-1"])
def test_first_credit_must_be_positive(operator: Operator, amount: str) -> None:
    create(operator, "--name", "harbour")
    assert failure(operator("keys", "credit", "harbour", amount)) == (
        "harbour has no balance to take from: it spends without limit. For a balance of 0, create a new key."
    )
    assert shown(operator, "harbour")["balance"] is None
    assert document(operator("ledger", "list", "--json")) == []


@pytest.mark.parametrize("test_db", ["sqlite"], indirect=True)
def test_help_describes_the_values_of_options(operator: Operator) -> None:
    assert re.search(r"--note TEXT ", printed(operator("keys", "credit", "--help")))
    expires = " ".join(printed(operator("keys", "create", "--help")).split())
    assert "like 2027-01-31T18:00, or never. A day alone, like 2027-01-31, means 00:00." in expires


def test_balance_has_a_maximum(operator: Operator, database: Database) -> None:
    create(operator, "--name", "harbour")
    Ledger(database).credit(ApiKeyStore(database).get("harbour").id, 10**18)
    assert failure(operator("keys", "credit", "harbour", "1")).startswith("No balance may be above ")


@pytest.mark.parametrize("test_db", ["sqlite"], indirect=True)
@pytest.mark.parametrize("amount", ["1.5", "many", "1e3", "1000000000000001", ""])
def test_amount_must_be_whole_micro_units(operator: Operator, amount: str) -> None:
    create(operator, "--name", "harbour")
    assert misuse(operator("keys", "credit", "harbour", amount)).startswith("Invalid value for 'AMOUNT': ")


@pytest.mark.parametrize(
    "arguments",
    [
        ("keys", "show", "unknown"),
        ("keys", "update", "unknown", "--rpm", "1"),
        ("keys", "revoke", "unknown"),
        ("keys", "credit", "unknown", "1"),
        ("keys", "usage", "unknown"),
        ("usage", "--key", "unknown"),
        ("ledger", "list", "--key", "unknown"),
    ],
    ids=" ".join,
)
def test_unknown_key_is_one_line(operator: Operator, arguments: tuple[str, ...]) -> None:
    assert failure(operator(*arguments)) == "There is no key unknown."
