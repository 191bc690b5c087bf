"""Settings: good and bad values, all faults in one message without secrets, the documented table, misspelt names."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app.model_catalog import IMAGE_01, IMAGE_01_LIVE, ModelAlias
from app.objects.location import FileLocation, Location, S3Location
from app.settings import ROWS, ConfigError, Settings, markdown_rows
from app.settings_table import find_unknown
from tests.support.processes import ROOT, environment, procfile_command

VARIABLES = (
    *("MINIMAX_API_KEY", "MINIMAX_API_KEYS", "MINIMAX_REQUESTS_PER_MINUTE"),
    *("MINIMAX_BASE_URL", "MINIMAX_TIMEOUT_SECONDS"),
    *("AMUX_QUEUE_SECONDS", "AMUX_MAX_QUEUED", "AMUX_REST_KEYS", "AMUX_STATE_FOLDER"),
    *("AMUX_API_KEYS", "AMUX_ENABLED_MODELS", "AMUX_MODEL_ALIASES", "AMUX_FORWARD_DIMENSIONS"),
    *("AMUX_DEFAULT_RESPONSE_FORMAT", "AMUX_CORS_ORIGINS", "AMUX_PAGES", "AMUX_MAX_CALLS"),
    *("AMUX_CLIENT_TIMEOUT_SECONDS", "AMUX_STREAM_HEAD_SECONDS", "AMUX_STREAM_HEARTBEAT_SECONDS", "AMUX_SPOOL_FOLDER"),
    *("AMUX_JOIN_RETRIES", "AMUX_ANSWER_HOURS", "AMUX_ANSWER_BYTES"),
    *("AMUX_IMAGE_STORE", "AMUX_PUBLIC_URL", "AMUX_IMAGE_DAYS", "AMUX_IMAGE_ACCEL"),
    *("DATABASE_URL", "REDIS_URL", "AMUX_PRICES", "AMUX_CURRENCY", "AMUX_JOURNAL_FOLDER", "AMUX_USAGE_DAYS"),
    *("HOST", "PORT", "WEB_CONCURRENCY", "LOG_LEVEL"),
)
OLD_NAME = "AMUX_TRANSFER_SECONDS"
LEAST = {"AMUX_API_KEYS": "caller-secret", "MINIMAX_API_KEY": "upstream-secret"}
STORED_WITHOUT_KEY = {"DATABASE_URL": "sqlite:////tmp/secret.db", "AMUX_PRICES": "image-01=3500"}
STORED = STORED_WITHOUT_KEY | {"MINIMAX_API_KEY": "k"}


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*VARIABLES, OLD_NAME):
        monkeypatch.delenv(name, raising=False)


def settings(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in (LEAST | variables).items():
        monkeypatch.setenv(name, value)
    return Settings.from_env()


def test_defaults_match_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings(monkeypatch) == Settings(
        api_keys=("caller-secret",),
        minimax_api_key="upstream-secret",
        minimax_api_keys=(),
        minimax_requests_per_minute=10,
        queue_seconds=30.0,
        max_queued=1000,
        rest_keys=True,
        minimax_base_url="https://api.minimax.io",
        minimax_timeout_seconds=180.0,
        enabled_models=(IMAGE_01,),
        model_aliases={},
        forward_dimensions=False,
        default_response_format="url",
        cors_origins=(),
        pages=True,
        max_calls=1024,
        client_timeout_seconds=120.0,
        stream_head_seconds=15.0,
        stream_heartbeat_seconds=10.0,
        join_retries=True,
        answer_hours=24.0,
        answer_bytes=1_073_741_824,
        spool_folder=None,
        database_url=None,
        redis_url=None,
        prices={},
        currency="USD",
        journal_folder="journal",
        state_folder="state",
        usage_days=90,
        image_store=None,
        public_url="",
        image_days=30,
        image_accel=False,
        host="127.0.0.1",
        port=8000,
        web_concurrency=2,
        log_level="INFO",
    )


BOTH = (IMAGE_01, IMAGE_01_LIVE)
GOOD: list[tuple[str, str, str, Any]] = [
    ("AMUX_API_KEYS", "a,b,sk-!~", "api_keys", ("a", "b", "sk-!~")),
    ("MINIMAX_API_KEY", "eyJ.e30.x-_=", "minimax_api_key", "eyJ.e30.x-_="),
    ("MINIMAX_API_KEYS", "", "minimax_api_keys", ()),
    *[("MINIMAX_REQUESTS_PER_MINUTE", text, "minimax_requests_per_minute", int(text)) for text in ("0", "1", "100000")],
    ("AMUX_QUEUE_SECONDS", "0", "queue_seconds", 0.0),
    ("AMUX_QUEUE_SECONDS", "0.5", "queue_seconds", 0.5),
    ("AMUX_QUEUE_SECONDS", "3600", "queue_seconds", 3600.0),
    *[("AMUX_MAX_QUEUED", text, "max_queued", int(text)) for text in ("0", "1", "100000")],
    *[("AMUX_REST_KEYS", text, "rest_keys", text in ("true", "1", "on")) for text in ("true", "1", "on", "false", "0")],
    ("AMUX_STATE_FOLDER", "/var/lib/amux/state", "state_folder", "/var/lib/amux/state"),
    ("MINIMAX_BASE_URL", "https://api.minimaxi.com", "minimax_base_url", "https://api.minimaxi.com"),
    ("MINIMAX_BASE_URL", "https://api.minimaxi.com/", "minimax_base_url", "https://api.minimaxi.com"),
    ("MINIMAX_BASE_URL", "http://127.0.0.1:9000/behind/", "minimax_base_url", "http://127.0.0.1:9000/behind"),
    ("MINIMAX_BASE_URL", "http://[::1]:9000", "minimax_base_url", "http://[::1]:9000"),
    ("MINIMAX_TIMEOUT_SECONDS", "1", "minimax_timeout_seconds", 1.0),
    ("MINIMAX_TIMEOUT_SECONDS", "0.5e2", "minimax_timeout_seconds", 50.0),
    ("MINIMAX_TIMEOUT_SECONDS", "3600", "minimax_timeout_seconds", 3600.0),
    ("AMUX_ENABLED_MODELS", "MiniMax-Image-01,MiniMax-Image-01-live", "enabled_models", BOTH),
    ("AMUX_ENABLED_MODELS", " image-01 , IMAGE-01-LIVE,image-01", "enabled_models", BOTH),
    ("AMUX_ENABLED_MODELS", "image-01-live", "enabled_models", (IMAGE_01_LIVE,)),
    ("AMUX_MODEL_ALIASES", "", "model_aliases", {}),
    (
        "AMUX_MODEL_ALIASES",
        "GPT-Image-1=MiniMax-Image-01, dall-e-3 = image-01-live,",
        "model_aliases",
        {"gpt-image-1": ModelAlias(IMAGE_01), "dall-e-3": ModelAlias(IMAGE_01_LIVE)},
    ),
    (
        "AMUX_MODEL_ALIASES",
        "a=MiniMax-Image-01:b64_json, B = image-01-live : url ,c=image-01",
        "model_aliases",
        {
            "a": ModelAlias(IMAGE_01, "b64_json"),
            "b": ModelAlias(IMAGE_01_LIVE, "url"),
            "c": ModelAlias(IMAGE_01),
        },
    ),
    *[("AMUX_FORWARD_DIMENSIONS", text, "forward_dimensions", True) for text in ("true", "True", "1", "yes", "on")],
    *[("AMUX_FORWARD_DIMENSIONS", text, "forward_dimensions", False) for text in ("false", "FALSE", "0", "no", "off")],
    ("AMUX_DEFAULT_RESPONSE_FORMAT", "b64_json", "default_response_format", "b64_json"),
    ("AMUX_CORS_ORIGINS", "", "cors_origins", ()),
    ("AMUX_CORS_ORIGINS", "*", "cors_origins", ("*",)),
    ("AMUX_CORS_ORIGINS", "https://app.example", "cors_origins", ("https://app.example",)),
    (
        "AMUX_CORS_ORIGINS",
        "https://app.example, http://localhost:3000,https://app.example",
        "cors_origins",
        ("https://app.example", "http://localhost:3000"),
    ),
    *[
        ("AMUX_CORS_ORIGINS", origin, "cors_origins", (origin,))
        for origin in (
            "http://[::1]:3000",
            "https://127.0.0.1:80",
            "app://obsidian.md",
            "https://xn--bcher-kva.example",
        )
    ],
    ("AMUX_MAX_CALLS", "1", "max_calls", 1),
    (OLD_NAME, "2.5", "client_timeout_seconds", 2.5),
    ("AMUX_CLIENT_TIMEOUT_SECONDS", "1", "client_timeout_seconds", 1.0),
    ("AMUX_CLIENT_TIMEOUT_SECONDS", "2.5", "client_timeout_seconds", 2.5),
    ("AMUX_CLIENT_TIMEOUT_SECONDS", "3600", "client_timeout_seconds", 3600.0),
    *[("AMUX_STREAM_HEAD_SECONDS", text, "stream_head_seconds", float(text)) for text in ("0", "0.5", "3600")],
    *[
        ("AMUX_STREAM_HEARTBEAT_SECONDS", text, "stream_heartbeat_seconds", float(text))
        for text in ("0.1", "25", "3600")
    ],
    *[("AMUX_JOIN_RETRIES", text, "join_retries", text in ("true", "1")) for text in ("true", "1", "false", "0")],
    *[("AMUX_ANSWER_HOURS", text, "answer_hours", float(text)) for text in ("0.0001", "0.5", "8760")],
    *[("AMUX_ANSWER_BYTES", text, "answer_bytes", int(text)) for text in ("0", "1", "9007199254740992")],
    ("AMUX_SPOOL_FOLDER", "", "spool_folder", None),
    ("AMUX_SPOOL_FOLDER", "/tmp", "spool_folder", "/tmp"),
    ("REDIS_URL", "redis://:password@localhost:6379/0", "redis_url", "redis://:password@localhost:6379/0"),
    ("AMUX_PRICES", "image-01=3500", "prices", {"MiniMax-Image-01": 3500}),
    ("AMUX_PRICES", "image-01=0, image-01-live = 7,", "prices", {"MiniMax-Image-01": 0, "MiniMax-Image-01-live": 7}),
    ("AMUX_JOURNAL_FOLDER", "/var/lib/amux/journal", "journal_folder", "/var/lib/amux/journal"),
    ("AMUX_USAGE_DAYS", "1", "usage_days", 1),
    ("AMUX_IMAGE_STORE", "", "image_store", None),
    ("AMUX_PUBLIC_URL", "", "public_url", ""),
    ("AMUX_PUBLIC_URL", "https://images.example.com/", "public_url", "https://images.example.com"),
    ("AMUX_PUBLIC_URL", "http://127.0.0.1:8000/behind", "public_url", "http://127.0.0.1:8000/behind"),
    *[("AMUX_IMAGE_DAYS", text, "image_days", int(text)) for text in ("1", "36500")],
    ("HOST", "::1", "host", "::1"),
    ("PORT", "1", "port", 1),
    ("PORT", "65535", "port", 65535),
    *[("AMUX_PAGES", text, "pages", text in ("true", "1")) for text in ("true", "1", "false", "0")],
    *[("AMUX_CURRENCY", text, "currency", text) for text in ("USD", "CNY")],
    ("WEB_CONCURRENCY", "1", "web_concurrency", 1),
    *[("LOG_LEVEL", level, "log_level", level) for level in ("DEBUG", "INFO", "WARNING", "ERROR")],
]


@pytest.mark.parametrize(("variable", "value", "field", "read"), GOOD, ids=[f"{g[0]}={g[1]}" for g in GOOD])
def test_a_good_value_is_read(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, field: str, read: object
) -> None:
    assert getattr(settings(monkeypatch, **{variable: value}), field) == read


SEVERAL_KEYS: list[tuple[str, tuple[tuple[str, int | None], ...]]] = [
    ("sk-a", (("sk-a", None),)),
    ("sk-a:20", (("sk-a", 20),)),
    ("sk-a:20,sk-b", (("sk-a", 20), ("sk-b", None))),
    ("sk-b,sk-a:0,eyJ.e30.x-_=:999999", (("sk-b", None), ("sk-a", 0), ("eyJ.e30.x-_=", 999999))),
    ("sk-a:007,SK-A", (("sk-a", 7), ("SK-A", None))),
]


@pytest.mark.parametrize("beside", [{}, STORED_WITHOUT_KEY], ids=["static keys", "database"])
@pytest.mark.parametrize(("value", "keys"), SEVERAL_KEYS, ids=[value for value, _ in SEVERAL_KEYS])
def test_several_minimax_keys_take_the_place_of_the_one(
    monkeypatch: pytest.MonkeyPatch, value: str, keys: object, beside: dict[str, str]
) -> None:
    variables = beside or {"AMUX_API_KEYS": "caller-secret"}
    for name, text in (variables | {"MINIMAX_API_KEYS": value}).items():
        monkeypatch.setenv(name, text)
    read = Settings.from_env()
    assert (read.minimax_api_key, read.minimax_api_keys) == ("", keys)
    assert "sk-" not in repr(read).lower()


@pytest.mark.parametrize("value", ["secret-a", "upstream-secret", "upstream-secret:20,secret-b"])
def test_one_minimax_key_beside_several_is_reported(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    with pytest.raises(ConfigError, match=r"(?m)^  MINIMAX_API_KEYS: .+MINIMAX_API_KEY: .+$") as caught:
        settings(monkeypatch, MINIMAX_API_KEYS=value)
    assert len(str(caught.value).splitlines()) == 2
    assert "secret" not in str(caught.value)


def test_an_empty_list_of_minimax_keys_is_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMUX_API_KEYS", "caller-secret")
    monkeypatch.setenv("MINIMAX_API_KEYS", "")
    with pytest.raises(ConfigError, match=r"(?m)^  MINIMAX_API_KEY: .+MINIMAX_API_KEYS\.$") as caught:
        Settings.from_env()
    assert len(str(caught.value).splitlines()) == 2


LOCATIONS: list[tuple[str, Location]] = [
    ("file:///var/lib/amux/images", FileLocation(Path("/var/lib/amux/images"))),
    ("file:///var/lib/amux/images/", FileLocation(Path("/var/lib/amux/images"))),
    ("s3://bucket", S3Location("bucket", "")),
    ("s3://bucket/", S3Location("bucket", "")),
    ("s3://my.bucket-1/a/b_c.d", S3Location("my.bucket-1", "a/b_c.d/")),
    ("s3://bucket/a/", S3Location("bucket", "a/")),
]


@pytest.mark.parametrize(("value", "location"), LOCATIONS, ids=[value for value, _ in LOCATIONS])
def test_an_image_store_needs_a_public_url(monkeypatch: pytest.MonkeyPatch, value: str, location: Location) -> None:
    url = "https://images.example.com"
    assert settings(monkeypatch, AMUX_IMAGE_STORE=value, AMUX_PUBLIC_URL=url).image_store == location
    monkeypatch.delenv("AMUX_PUBLIC_URL")
    with pytest.raises(ConfigError, match=r"(?m)^  AMUX_PUBLIC_URL: .+AMUX_IMAGE_STORE.+$") as caught:
        settings(monkeypatch, AMUX_IMAGE_STORE=value)
    assert len(str(caught.value).splitlines()) == 2


def test_nginx_sends_only_files(monkeypatch: pytest.MonkeyPatch) -> None:
    more = {"AMUX_PUBLIC_URL": "https://images.example.com", "AMUX_IMAGE_ACCEL": "true"}
    assert settings(monkeypatch, AMUX_IMAGE_STORE="file:///images", **more).image_accel
    for store in ("", "s3://bucket"):
        with pytest.raises(ConfigError, match=r"(?m)^  AMUX_IMAGE_ACCEL: .+file://.+$"):
            settings(monkeypatch, AMUX_IMAGE_STORE=store, **more)


def test_a_port_without_a_host_listens_on_every_address(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings(monkeypatch, PORT="80").host == "0.0.0.0"
    assert settings(monkeypatch, PORT="80", HOST="127.0.0.1").host == "127.0.0.1"


KEYS = [
    "",
    " ",
    "a b",
    " secretly",
    "secretly ",
    "a\tb",
    "a\nb",
    "a\x7fb",
    "schl\xfcssel",
    "密钥",
    "a\u200bb",
    "a\udcff",
]
BAD: dict[str, list[str]] = {
    "AMUX_API_KEYS": [*KEYS, ",", "secretly,", ",secretly", "secretly,,b", "secretly, b"],
    "MINIMAX_API_KEY": KEYS,
    "MINIMAX_API_KEYS": [
        *(key for key in KEYS if key),
        *(",", "secretly,", ",secretly", "secretly,,b", "secretly, b", "secretly ,b", "a b,c"),
        *("secretly:", "secretly:fast", "secretly:-1", "secretly:1.5", "secretly:1000000", "secretly: 20", ":20", ":"),
        *("secretly:20:30", "secretly:٣", "secretly:+1", "secretly:1_0", "secretly;b:20"),
        *("secretly,secretly", "secretly:1,secretly:2", "secretly,b,secretly:20"),
    ],
    "MINIMAX_REQUESTS_PER_MINUTE": ["", "-1", "1.5", "100001", "ten", "1e1", "secretly", "9" * 5000],
    "AMUX_QUEUE_SECONDS": ["", " ", "-1", "3601", "nan", "inf", "-inf", "soon", "30s", "secretly"],
    "AMUX_MAX_QUEUED": ["", "-1", "1.5", "100001", "many", "secretly"],
    "AMUX_REST_KEYS": ["", "maybe", "2", "secretly"],
    "AMUX_STATE_FOLDER": [""],
    "MINIMAX_BASE_URL": [
        "https://api.minimax.io/v1",
        *(
            "",
            " ",
            "api.minimax.io",
            "//api.minimax.io",
            "ftp://api.minimax.io",
            "https://",
            "https:///v1",
            "https:api",
        ),
        *("https://user:secretly@api.minimax.io", "https://secretly@api.minimax.io", "https://@api.minimax.io"),
        *("https://api.minimax.io?key=secretly", "https://api.minimax.io#secretly", "https://api.minimax.io/a b"),
        *("https://api.minimax.io:port", "https://api.minimax.io:0", "https://api.minimax.io:65536", "https://[::1"),
        *("https://api.minimax.io\n", "https://mini\xadmax.io", "https://api..minimax.io", "https://" + "a" * 64),
    ],
    "MINIMAX_TIMEOUT_SECONDS": [
        "",
        " ",
        "0",
        "-1",
        "0.5",
        "3601",
        "nan",
        "inf",
        "-inf",
        "1e999",
        "soon",
        "180s",
        "1,5",
    ],
    "AMUX_ENABLED_MODELS": ["", ",", "image-01,", "dall-e-3", "MiniMax-Image-01;image-01-live", "secretly"],
    "AMUX_MODEL_ALIASES": [
        "gpt-image-1",
        "=image-01",
        " =image-01",
        "a=",
        "a=secretly",
        "a=image-01,b",
        "image-01=image-01",
        "a=image-01:",
        "a=image-01:secretly",
        "a=image-01:base64",
        "a=image-01:URL",
        "a=:url",
        "a=image-01:url:url",
        "a:url=image-01,image-01:url",
    ],
    "AMUX_FORWARD_DIMENSIONS": ["", "maybe", "2", "secretly"],
    "AMUX_DEFAULT_RESPONSE_FORMAT": ["", "base64", "URL", "png", "secretly"],
    "AMUX_MAX_CALLS": ["", "0", "-1", "1.5", "10001", "many", "9" * 5000],
    "AMUX_CORS_ORIGINS": [
        *("app.example", "https://", "https://app.example/", "https://app.example/secretly", "https://app.example?a"),
        *("https://App.example", "HTTPS://app.example", "https://app.example:443", "http://app.example:80"),
        *("https://app.example:0", "https://app.example:65536", "https://user@app.example", "https://app.example#a"),
        *("*,https://app.example", "https://app.example,", ",", " ", "null", "https://*.app.example", "**"),
        *("https://bücher.example", "https://app.example https://b.example", "https://[::1", "https://[x]", "//a.b"),
    ],
    "AMUX_CLIENT_TIMEOUT_SECONDS": ["", "0", "-1", "0.5", "3601", "nan", "inf", "soon"],
    "AMUX_STREAM_HEAD_SECONDS": ["", " ", "-1", "3601", "nan", "inf", "soon", "15s", "secretly"],
    "AMUX_STREAM_HEARTBEAT_SECONDS": ["", " ", "-1", "0", "0.05", "3601", "nan", "inf", "10s", "secretly"],
    "AMUX_JOIN_RETRIES": ["", "maybe", "2", "secretly"],
    "AMUX_ANSWER_HOURS": ["", " ", "-1", "0", "8761", "nan", "inf", "1h", "secretly"],
    "AMUX_ANSWER_BYTES": ["", "-1", "1.5", "9007199254740993", "1GiB", "secretly"],
    "AMUX_SPOOL_FOLDER": [" ", "/nowhere/secretly", __file__],
    "DATABASE_URL": [
        "mysql://u:secretly@h/d",
        "secretly",
        "sqlite",
        "postgresql+asyncpg://u:secretly@h/d",
        "postgresql://u:secretly@h:port/d",
    ],
    "REDIS_URL": ["http://:secretly@h", "secretly", "redis://:secretly@h:port", "redis://h/0?db=secretly"],
    "AMUX_PRICES": ["image-01", "image-01=", "image-01=1.5", "image-01=-1", "image-01=٣", "dall-e-3=1", "image-01=1e3"],
    "AMUX_JOURNAL_FOLDER": [""],
    "AMUX_USAGE_DAYS": ["", "0", "1.5", "36501", "week"],
    "AMUX_IMAGE_STORE": [
        *(
            "secretly",
            "/var/lib/secretly",
            "file:/var/lib/secretly",
            "file://secretly/images",
            "file://",
            "http://bucket/a",
        ),
        *("file:///var/lib/a%20b", "file:///var/lib?secretly", "file:///var/lib#secretly", "file:///var/lib\n", " "),
        *("s3:bucket", "s3://", "s3://b", "s3:///prefix", "s3://Bucket", "s3://user:secretly@bucket", "s3://bucket:1"),
        *("s3://bucket//a", "s3://bucket/a//b", "s3://bucket/../a", "s3://bucket/a b", "s3://bucket/a?secretly"),
    ],
    "AMUX_PUBLIC_URL": [
        *(
            "images.example.com",
            "ftp://images.example.com",
            "https://",
            "https://user:secretly@images.example.com",
            " ",
        ),
        *("https://images.example.com/v1", "https://images.example.com?secretly", "https://images.example.com/a b"),
    ],
    "AMUX_IMAGE_DAYS": ["", "0", "1.5", "36501", "month"],
    "AMUX_IMAGE_ACCEL": ["", "maybe", "2", "secretly"],
    "AMUX_PAGES": ["", "maybe", "2", "secretly"],
    "AMUX_CURRENCY": ["", "usd", "US", "EURO", "USD\n", "ＵＳＤ", "secretly"],
    "HOST": [""],
    "PORT": ["", "0", "-1", "65536", "80.5", "http", "secretly"],
    "WEB_CONCURRENCY": ["", "0", "257", "1.5", "two"],
    "LOG_LEVEL": ["", "info", "TRACE", "10", "secretly"],
}
FAULTS = [(name, value) for name, values in BAD.items() for value in values]


@pytest.mark.parametrize(("variable", "value"), FAULTS, ids=[f"{name}={value!r}"[:50] for name, value in FAULTS])
def test_a_bad_value_stops_the_start_and_is_not_printed(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(monkeypatch, **{variable: value})
    opening, *lines = str(caught.value).splitlines()
    assert opening == "The gateway cannot start. These environment variables are missing or wrong:"
    (line,) = lines
    name, _, expectation = line.partition(": ")
    assert name == f"  {variable}"
    assert len(expectation) > 10
    assert "secret" not in line


def test_with_a_database_no_keys_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in STORED.items():
        monkeypatch.setenv(name, value)
    read = Settings.from_env()
    assert (read.api_keys, read.database_url) == ((), STORED["DATABASE_URL"])
    assert read.prices == {"MiniMax-Image-01": 3500}
    assert "secret" not in repr(read)


@pytest.mark.parametrize(
    ("variables", "fault"),
    [
        ({"AMUX_API_KEYS": "secretly"}, "AMUX_API_KEYS"),
        ({"AMUX_PRICES": ""}, "AMUX_PRICES"),
        ({"AMUX_ENABLED_MODELS": "image-01,image-01-live"}, "AMUX_PRICES"),
    ],
)
def test_with_a_database_keys_must_be_unset_and_prices_complete(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], fault: str
) -> None:
    for name, value in (STORED | variables).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=f"(?m)^  {fault}: Expected .+$") as caught:
        Settings.from_env()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("value", ["", "0", "3601", "secretly"])
def test_a_bad_value_under_a_former_name_is_reported_under_it(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    with pytest.raises(ConfigError, match=f"(?m)^  {OLD_NAME}: .+$") as caught:
        settings(monkeypatch, **{OLD_NAME: value})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(("old", "new", "agrees"), [("90", "90.0", True), ("90", "91", False)])
def test_both_names_of_a_setting_must_agree(
    monkeypatch: pytest.MonkeyPatch, old: str, new: str, *, agrees: bool
) -> None:
    variables = {OLD_NAME: old, "AMUX_CLIENT_TIMEOUT_SECONDS": new}
    if agrees:
        assert settings(monkeypatch, **variables).client_timeout_seconds == 90
    else:
        with pytest.raises(ConfigError, match=f"(?m)^  AMUX_CLIENT_TIMEOUT_SECONDS: .+{OLD_NAME}"):
            settings(monkeypatch, **variables)


def test_an_empty_list_of_keys_is_accepted_beside_a_database(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (STORED | {"AMUX_API_KEYS": ""}).items():
        monkeypatch.setenv(name, value)
    assert Settings.from_env().api_keys == ()


def test_operator_commands_read_neither_keys_nor_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {"AMUX_API_KEYS": "not a key", "MINIMAX_API_KEY": "", "MINIMAX_API_KEYS": ",", "AMUX_PRICES": "x"}
    for name, value in (STORED | wrong).items():
        monkeypatch.setenv(name, value)
    read = Settings.from_env(require_secrets=False)
    assert (read.api_keys, read.minimax_api_key, read.minimax_api_keys, read.prices) == ((), "", (), {})
    assert read.database_url == STORED["DATABASE_URL"]


@pytest.mark.parametrize("name", LEAST)
def test_a_key_is_required(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for other, value in LEAST.items():
        if other != name:
            monkeypatch.setenv(other, value)
    with pytest.raises(ConfigError, match=f"(?m)^  {name}: .+$"):
        Settings.from_env()


def test_all_faults_are_reported_together(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(monkeypatch, **{name: values[0] for name, values in BAD.items()})
    named = [line.partition(":")[0].strip() for line in str(caught.value).splitlines()[1:]]
    assert named == sorted(VARIABLES)


def test_every_variable_has_bad_values_in_this_file() -> None:
    assert set(BAD) == set(VARIABLES)
    assert len(dataclasses.fields(Settings)) == len(ROWS) == len(VARIABLES)


def test_every_setting_is_documented_by_its_row() -> None:
    """The documented table is `markdown_rows()` in its order, so that neither can be changed without the other."""
    documents = [path for path in (ROOT / "docs" / "configuration.md", ROOT / "README.md") if path.exists()]
    [document, *_] = [path for path in documents if "`LOG_LEVEL` |" in path.read_text()]
    documented = re.findall(r"^\| `[A-Z_]+` \|.*\|$", document.read_text(), re.MULTILINE)
    expected = markdown_rows()
    table = "\n".join(expected)
    assert documented == expected, f"{document.name} must hold this table of settings:\n{table}"


UNKNOWN = [
    ("AMUX_MAX_CALL", "AMUX_MAX_CALLS"),
    ("AMUX_CORS_ORIGIN", "AMUX_CORS_ORIGINS"),
    ("AMUX_CLIENT_TIMEOUT", "AMUX_CLIENT_TIMEOUT_SECONDS"),
    ("MINIMAX_URL", "MINIMAX_BASE_URL"),
    ("MINIMAX_KEY", "MINIMAX_API_KEY"),
    ("MINIMAX_REQUEST_PER_MINUTE", "MINIMAX_REQUESTS_PER_MINUTE"),
    ("AMUX_QUEUED_SECONDS", "AMUX_QUEUE_SECONDS"),
    ("AMUX_REST_KEY", "AMUX_REST_KEYS"),
    ("AMUX_ZZZZZZZZZZZZ", None),
    ("AMUX_FROBNICATE", None),
]


@pytest.mark.parametrize(("name", "nearest"), UNKNOWN)
def test_an_unknown_variable_is_found_with_the_nearest_setting(name: str, nearest: str | None) -> None:
    names = (*VARIABLES, OLD_NAME, name, "AMUX_API_KEY", "SANDBOX_PORT", "PATH", "XAMUX_MAX_CALL", "amux_max_call")
    assert find_unknown(names, ROWS.values()) == {name: nearest}


def test_a_misspelt_variable_is_logged_without_its_value(tmp_path: Path) -> None:
    ended = start("import wsgi", **LEAST, AMUX_MAX_CALL="secretly", AMUX_STATE_FOLDER=str(tmp_path))
    line, keys = map(json.loads, ended.stdout.splitlines())
    assert keys["message"].startswith("Upstream keys: ")
    assert line["level"] == "WARNING"
    assert line["message"] == "Unknown setting AMUX_MAX_CALL is ignored: did you mean AMUX_MAX_CALLS?"
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "secretly" not in ended.stdout


def test_settings_are_frozen_and_show_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    read = settings(monkeypatch)
    assert "secret" not in repr(read)
    with pytest.raises(dataclasses.FrozenInstanceError):
        read.port = 1  # type: ignore[misc]


def start(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment(**variables), capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("code", ["import wsgi", "from app import create_app; create_app()"])
def test_a_wrong_configuration_ends_the_process_with_one_message(code: str) -> None:
    ended = start(code, AMUX_API_KEYS="secretly, wrong", LOG_LEVEL="loud", WEB_CONCURRENCY="0")
    assert ended.returncode == 1
    assert ended.stdout == ""
    opening, *lines = ended.stderr.splitlines()
    assert opening.startswith("The gateway cannot start.")
    named = [line.partition(":")[0] for line in lines]
    assert named == ["  AMUX_API_KEYS", "  LOG_LEVEL", "  MINIMAX_API_KEY", "  WEB_CONCURRENCY"]
    assert "secretly" not in ended.stderr


def fingerprint(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:12]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"MINIMAX_API_KEY": "secret-a"}, {"secret-a": "10"}),
        ({"MINIMAX_API_KEY": "secret-a", "MINIMAX_REQUESTS_PER_MINUTE": "0"}, {"secret-a": "any rate"}),
        (
            {"MINIMAX_API_KEYS": "secret-a:20,secret-b,secret-c:0", "MINIMAX_REQUESTS_PER_MINUTE": "7"},
            {"secret-a": "20", "secret-b": "7", "secret-c": "any rate"},
        ),
    ],
    ids=lambda value: "",
)
def test_a_correct_configuration_logs_the_rates_of_its_keys_and_nothing_else(
    tmp_path: Path, variables: dict[str, str], expected: dict[str, str]
) -> None:
    ended = start("import wsgi", **{"AMUX_API_KEYS": "caller-secret"} | variables, AMUX_STATE_FOLDER=str(tmp_path))
    assert (ended.returncode, ended.stderr) == (0, "")
    [line] = map(json.loads, ended.stdout.splitlines())
    rates = ", ".join(f"{fingerprint(key)} at {rate}" for key, rate in expected.items())
    assert (line["level"], line["message"]) == ("INFO", f"Upstream keys: {rates}")
    assert "secret" not in ended.stdout


def test_a_correct_configuration_logs_nothing_above_info(tmp_path: Path) -> None:
    ended = start("import wsgi", **LEAST, LOG_LEVEL="WARNING", AMUX_STATE_FOLDER=str(tmp_path))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.parametrize("value", ["x", "", "0", "1.5"])
def test_a_wrong_web_concurrency_ends_the_served_gateway_with_one_message(value: str) -> None:
    """gunicorn reads this variable itself, while it is imported."""
    ended = subprocess.run(
        procfile_command("web").split(),
        cwd=ROOT,
        env=environment(**LEAST, WEB_CONCURRENCY=value),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    opening, line = ended.stderr.splitlines()
    assert opening.startswith("The gateway cannot start.")
    assert line.startswith("  WEB_CONCURRENCY: ")
