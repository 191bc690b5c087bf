"""Settings read from the environment and validated together at startup.

Each field of `Settings` is one row of the table of settings: its variable, its parser, its default and its
documentation. Parsing, the documented table and the check for unknown variables are derived from these rows.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from environs import validate

from app.model_catalog import IMAGE_01, RESPONSE_FORMATS, Model, ModelAlias, ResponseFormat
from app.objects.location import FileLocation, Location
from app.settings_parsers import PARSERS
from app.settings_table import Row, find_unknown, read_rows, row

log = logging.getLogger(__name__)

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
# Operator commands make no MiniMax calls and charge nothing, so they run without these.
_WITHOUT_SECRETS: Mapping[str, Any] = {"api_keys": (), "minimax_api_key": "", "minimax_api_keys": (), "prices": {}}


class ConfigError(SystemExit):
    """Ends the start: Python prints the message on stderr and exits with status 1."""


@dataclass(frozen=True)
class Settings:
    """Immutable gateway settings.

    Times are in seconds. `model_aliases` is keyed in lower case; `prices` are micro-units per image, by model id.
    """

    api_keys: tuple[str, ...] = row(
        "AMUX_API_KEYS",
        "api_keys",
        (),
        "the callers' keys, comma separated; not beside `DATABASE_URL`",
        shown="required",
        secret=True,
    )
    minimax_api_key: str = row(
        "MINIMAX_API_KEY",
        "api_key",
        "",
        "MiniMax's key; without it `make run` starts the sandbox",
        shown="required, or `MINIMAX_API_KEYS`",
        secret=True,
    )
    minimax_api_keys: tuple[tuple[str, int | None], ...] = row(
        "MINIMAX_API_KEYS",
        "upstream_keys",
        (),
        "several keys in the place of `MINIMAX_API_KEY`, comma separated, each with its own rate if need be: "
        "`sk-a:20,sk-b`",
        secret=True,
    )
    minimax_requests_per_minute: int = row(
        "MINIMAX_REQUESTS_PER_MINUTE",
        "int",
        10,
        "calls that a key may begin in any 60 seconds, as MiniMax limits them; `0` sets no limit",
        validate=validate.Range(0, 100_000),
    )
    queue_seconds: float = row(
        "AMUX_QUEUE_SECONDS",
        "float",
        30.0,
        "how long a call may wait for its turn with a key; `0` never waits",
        validate=validate.Range(0, 3600),
    )
    max_queued: int = row(
        "AMUX_MAX_QUEUED",
        "int",
        1000,
        "calls of one instance that may wait; callers above it get `upstream_busy`",
        validate=validate.Range(0, 100_000),
    )
    rest_keys: bool = row(
        "AMUX_REST_KEYS",
        "bool",
        True,
        "`false`: a key that MiniMax has rejected never rests, and is tried with each call",
    )
    minimax_base_url: str = row(
        "MINIMAX_BASE_URL",
        "base_url",
        "https://api.minimax.io",
        "`https://api.minimaxi.com` in mainland China; a key works on one of the two hosts",
    )
    minimax_timeout_seconds: float = row(
        "MINIMAX_TIMEOUT_SECONDS",
        "float",
        180.0,
        "total deadline of one call to MiniMax",
        validate=validate.Range(1, 3600),
    )
    enabled_models: tuple[Model, ...] = row(
        "AMUX_ENABLED_MODELS",
        "models",
        (IMAGE_01,),
        "add `,MiniMax-Image-01-live` to serve it on generations; it does not support `21:9`",
        shown=f"`{IMAGE_01.id}`",
    )
    model_aliases: Mapping[str, ModelAlias] = row(
        "AMUX_MODEL_ALIASES",
        "aliases",
        {},
        "`gpt-image-1=MiniMax-Image-01,…` for clients with hard-wired names; `…=MiniMax-Image-01:b64_json` also sets "
        "their default `response_format`",
    )
    forward_dimensions: bool = row(
        "AMUX_FORWARD_DIMENSIONS",
        "bool",
        False,
        "forwards `width` and `height`: both, multiples of 8 from 512 to 2048, image-01 only, without `aspect_ratio`",
    )
    default_response_format: ResponseFormat = row(
        "AMUX_DEFAULT_RESPONSE_FORMAT",
        "str",
        "url",
        "`b64_json` for clients that send no `response_format` and need base64",
        validate=validate.OneOf(RESPONSE_FORMATS),
    )
    cors_origins: tuple[str, ...] = row(
        "AMUX_CORS_ORIGINS",
        "origins",
        (),
        "origins whose web pages may call the gateway from a browser, comma separated, or `*`; never with credentials",
    )
    pages: bool = row(
        "AMUX_PAGES",
        "bool",
        True,
        "`false`: `/`, `/usage`, `/docs` and `/openapi.json` are 404; the API stays as it is",
    )
    max_calls: int = row(
        "AMUX_MAX_CALLS",
        "int",
        1024,
        "calls in flight in one worker process; callers above it get `gateway_full`",
        validate=validate.Range(1, 10_000),
    )
    client_timeout_seconds: float = row(
        "AMUX_CLIENT_TIMEOUT_SECONDS",
        "float",
        120.0,
        "time for a whole request to arrive, and again for its response to be read; its former name, "
        "`AMUX_TRANSFER_SECONDS`, is still accepted",
        former="AMUX_TRANSFER_SECONDS",
        validate=validate.Range(1, 3600),
    )
    stream_head_seconds: float = row(
        "AMUX_STREAM_HEAD_SECONDS",
        "float",
        15.0,
        "how long the head of a streamed response waits for the outcome of the call, so that an error in that time has "
        "its own HTTP status; must be less than what routers in front wait for a first byte",
        validate=validate.Range(0, 3600),
    )
    stream_heartbeat_seconds: float = row(
        "AMUX_STREAM_HEARTBEAT_SECONDS",
        "float",
        10.0,
        "how often a waiting stream sends a comment, so that routers do not take it for silent",
        validate=validate.Range(0.1, 3600),
    )
    join_retries: bool = row(
        "AMUX_JOIN_RETRIES",
        "bool",
        True,
        "`false`: a retry of an SDK never takes the answer of the call that it repeats",
    )
    answer_hours: float = row(
        "AMUX_ANSWER_HOURS",
        "float",
        24.0,
        "hours that an answer is kept for idempotency keys, tasks and callers that have left",
        validate=validate.Range(0.0001, 8760),
    )
    answer_bytes: int = row(
        "AMUX_ANSWER_BYTES",
        "int",
        1024 * 1024 * 1024,
        "bytes of all answers that are kept; the oldest are removed first",
        validate=validate.Range(0, 2**53),
    )
    spool_folder: str | None = row(
        "AMUX_SPOOL_FOLDER",
        "folder",
        None,
        "for large bodies during a call; its files have no names and are freed with the call",
        shown="the system's",
    )
    database_url: str | None = row(
        "DATABASE_URL",
        "database_url",
        None,
        "`sqlite:////var/lib/amux/amux.db` for one machine, `postgresql://user:password@host/name` for several; "
        "run `flask --app wsgi db upgrade` first",
        secret=True,
    )
    redis_url: str | None = row(
        "REDIS_URL",
        "redis_url",
        None,
        "`redis://host:6379/0`, or `rediss://` with TLS: counts rate limits over all processes instead of in each, "
        "and paces MiniMax's keys over all instances",
        secret=True,
    )
    prices: Mapping[str, int] = row(
        "AMUX_PRICES",
        "prices",
        {},
        "micro-units per image for each enabled model: `MiniMax-Image-01=3500,…`",
        shown="required with `DATABASE_URL`",
    )
    currency: str = row(
        "AMUX_CURRENCY",
        "str",
        "USD",
        "three capital letters: the currency of the prices and balances, as callers are told it",
        validate=validate.Regexp(r"[A-Z]{3}\Z", error="Expected three capital letters, such as USD."),
    )
    journal_folder: str = row(
        "AMUX_JOURNAL_FOLDER",
        "str",
        "journal",
        "for what could not be written while the database was unavailable; must outlive a restart",
        validate=validate.Length(min=1),
    )
    state_folder: str = row(
        "AMUX_STATE_FOLDER",
        "str",
        "state",
        "for what the workers of an instance share, and for answers that are kept; it must outlive a restart",
        validate=validate.Length(min=1),
    )
    usage_days: int = row(
        "AMUX_USAGE_DAYS",
        "int",
        90,
        "days that a request's usage row is kept; the ledger is kept for ever",
        validate=validate.Range(1, 36_500),
    )
    image_store: Location | None = row(
        "AMUX_IMAGE_STORE",
        "image_store",
        None,
        "keeps the images that callers request as URLs: `file:///var/lib/amux/images`, or `s3://bucket/prefix` with "
        "AWS's usual variables",
    )
    public_url: str = row(
        "AMUX_PUBLIC_URL",
        "public_url",
        "",
        "the gateway's URL as callers see it, such as `https://images.example.com`; URLs of images that are kept begin "
        "with it",
        shown="required with `AMUX_IMAGE_STORE`",
    )
    image_days: int = row(
        "AMUX_IMAGE_DAYS", "int", 30, "days that an image is kept", validate=validate.Range(1, 36_500)
    )
    image_accel: bool = row(
        "AMUX_IMAGE_ACCEL",
        "bool",
        False,
        "`true`: nginx sends the files of a `file://` store itself (`X-Accel-Redirect`); only behind "
        "`deploy/nginx.conf`",
    )
    host: str = row(
        "HOST",
        "str",
        "127.0.0.1",
        "with `PORT` set and `HOST` not, gunicorn listens on every address, as platforms expect; "
        "`make run` stays on `127.0.0.1`",
        validate=validate.Length(min=1),
    )
    port: int = row("PORT", "int", 8000, "the port to listen on", validate=validate.Range(1, 65535))
    web_concurrency: int = row("WEB_CONCURRENCY", "int", 2, "worker processes", validate=validate.Range(1, 256))
    log_level: str = row(
        "LOG_LEVEL", "str", "INFO", "`DEBUG` `INFO` `WARNING` `ERROR`", validate=validate.OneOf(LOG_LEVELS)
    )

    @classmethod
    def from_env(cls, *, require_secrets: bool = True) -> Self:
        """Read the environment. Raises `ConfigError`, which names every faulty variable and prints no value.

        Without `require_secrets`, as for operator commands, keys and prices are not read and may be missing.
        """
        unread = {} if require_secrets else _WITHOUT_SECRETS
        read, faults = read_rows({name: each for name, each in ROWS.items() if name not in unread}, PARSERS)
        values = {**read, **unread}
        if "HOST" not in os.environ and "PORT" in os.environ:
            values["host"] = "0.0.0.0"  # a platform that sets PORT routes to the machine's address
        if require_secrets:
            faults |= _combination_faults(values)
        if faults:
            raise ConfigError(_format_errors(faults))
        return cls(**values)


# By attribute of `Settings`, in the order of the documentation.
ROWS: Mapping[str, Row] = {declared.name: declared.metadata["row"] for declared in fields(Settings)}


def markdown_rows() -> list[str]:
    """The documentation's table `| variable | default | meaning |`, a line for each setting."""
    return [each.markdown() for each in ROWS.values()]


def log_unknown_variables(names: Iterable[str]) -> None:
    """Warn of variables that begin like a setting and are none, with the nearest setting. Values are never printed."""
    for name, nearest in find_unknown(names, ROWS.values()).items():
        hint = f": did you mean {nearest}?" if nearest else ""
        log.warning("Unknown setting %s is ignored%s", name, hint)


def _combination_faults(values: Mapping[str, Any]) -> dict[str, str]:
    """Rules that span several settings. A value that could not be parsed is None here, and is reported already."""
    stored, prices = bool(values["database_url"]), values["prices"]
    unpriced = [model.id for model in values["enabled_models"] or () if model.id not in (prices or {})]
    rules = (
        (
            "AMUX_API_KEYS",
            stored and os.environ.get("AMUX_API_KEYS"),
            "Expected not to be set beside DATABASE_URL: the keys are in the database.",
        ),
        (
            "AMUX_API_KEYS",
            not stored and values["api_keys"] == (),
            "Expected one or more keys with commas between them, unless DATABASE_URL is set.",
        ),
        (
            "MINIMAX_API_KEY",
            values["minimax_api_key"] == "" and values["minimax_api_keys"] == (),
            "Environment variable not set, and neither is MINIMAX_API_KEYS.",
        ),
        (
            "MINIMAX_API_KEYS",
            values["minimax_api_key"] and values["minimax_api_keys"],
            "Expected not to be set beside MINIMAX_API_KEY: put that key into the list.",
        ),
        (
            "AMUX_PRICES",
            stored and prices is not None and unpriced,
            f"Expected a price for: {', '.join(unpriced)}.",
        ),
        (
            "AMUX_PUBLIC_URL",
            values["image_store"] and values["public_url"] == "",
            "Expected to be set beside AMUX_IMAGE_STORE: the images' URLs begin with it.",
        ),
        (
            "AMUX_IMAGE_ACCEL",
            values["image_accel"] and not isinstance(values["image_store"], FileLocation),
            "Expected only beside an AMUX_IMAGE_STORE that is a file:// URL.",
        ),
    )
    return {variable: message for variable, broken, message in rules if broken}


def _format_errors(faults: Mapping[str, str]) -> str:
    lines = [f"  {name}: {message}" for name, message in sorted(faults.items())]
    return "\n".join(["The gateway cannot start. These environment variables are missing or wrong:", *lines])
