"""Owns the operator's switches: read once from the environment, typed, frozen, and all faults told at once."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

from environs import Env, EnvValidationError, ValidationError, validate

from app.catalogue import IMAGE_01, MODELS, Model, find_model
from app.image_request import ResponseFormat

DEFAULT_BASE_URL = "https://api.minimax.io"
RESPONSE_FORMATS: tuple[ResponseFormat, ...] = ("url", "b64_json")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")

_HEADER_SAFE = re.compile(r"[!-~]+", re.ASCII)


class ConfigError(SystemExit):
    """Ends the start: Python prints the message on stderr and exits with status 1."""


@dataclass(frozen=True)
class Settings:
    """What the operator chose.

    `minimax_timeout_seconds` is the total deadline of one upstream call; `transfer_seconds` is how long a caller may
    take to send a request, and again to take its answer; `max_calls` bounds the calls in flight of one worker process;
    `spool_folder` holds big bodies while they are worked on; `model_aliases` is keyed in lower case. Where there is a
    `database_url`, keys are in there, `prices` are micro-units a picture by the model's id, and `journal_folder` holds
    what could not be written while the database was gone.
    """

    api_keys: tuple[str, ...] = field(repr=False)
    minimax_api_key: str = field(repr=False)
    minimax_base_url: str = DEFAULT_BASE_URL
    minimax_timeout_seconds: float = 180.0
    enabled_models: tuple[Model, ...] = (IMAGE_01,)
    model_aliases: Mapping[str, Model] = field(default_factory=dict)
    forward_dimensions: bool = False
    default_response_format: ResponseFormat = "url"
    max_calls: int = 1024
    transfer_seconds: float = 120.0
    spool_folder: str | None = None
    database_url: str | None = field(default=None, repr=False)
    redis_url: str | None = field(default=None, repr=False)
    prices: Mapping[str, int] = field(default_factory=dict)
    journal_folder: str = "journal"
    usage_days: int = 90
    host: str = "127.0.0.1"
    port: int = 8000
    web_concurrency: int = 2
    log_level: str = "INFO"

    @classmethod
    def from_env(cls, *, serving: bool = True) -> Self:
        """Reads the environment. Raises `ConfigError`, which names every faulty variable and prints no value.

        Where `serving` is False, as for the operator's commands, keys and prices may be missing, and are not read.
        """
        env: Any = Env(eager=False)  # typed Any: environs attaches its parsers by name
        for name, parser in _PARSERS.items():
            env.add_parser(name, parser)
        # A platform that sets PORT routes to the machine's address; without one, nobody else should reach us.
        default_host = "127.0.0.1" if env.str("PORT", None) is None else "0.0.0.0"
        database_url = env.database_url("DATABASE_URL", "")
        enabled_models = env.models("AMUX_ENABLED_MODELS", IMAGE_01.id)
        settings = cls(
            api_keys=_read_api_keys(env, stored=bool(database_url)) if serving else (),
            minimax_api_key=env.api_key("MINIMAX_API_KEY") if serving else "",
            minimax_base_url=env.base_url("MINIMAX_BASE_URL", DEFAULT_BASE_URL),
            minimax_timeout_seconds=env.float("MINIMAX_TIMEOUT_SECONDS", 180.0, validate=validate.Range(1, 3600)),
            enabled_models=enabled_models,
            model_aliases=env.aliases("AMUX_MODEL_ALIASES", ""),
            forward_dimensions=env.bool("AMUX_FORWARD_DIMENSIONS", False),
            default_response_format=env.str(
                "AMUX_DEFAULT_RESPONSE_FORMAT", "url", validate=validate.OneOf(RESPONSE_FORMATS)
            ),
            max_calls=env.int("AMUX_MAX_CALLS", 1024, validate=validate.Range(1, 10_000)),
            transfer_seconds=env.float("AMUX_TRANSFER_SECONDS", 120.0, validate=validate.Range(1, 3600)),
            spool_folder=env.folder("AMUX_SPOOL_FOLDER", ""),
            database_url=database_url,
            redis_url=env.redis_url("REDIS_URL", ""),
            prices=env.prices("AMUX_PRICES", "", models=enabled_models if database_url else ()) if serving else {},
            journal_folder=env.str("AMUX_JOURNAL_FOLDER", "journal", validate=validate.Length(min=1)),
            usage_days=env.int("AMUX_USAGE_DAYS", 90, validate=validate.Range(1, 36_500)),
            host=env.str("HOST", default_host, validate=validate.Length(min=1)),
            port=env.int("PORT", 8000, validate=validate.Range(1, 65535)),
            web_concurrency=env.int("WEB_CONCURRENCY", 2, validate=validate.Range(1, 256)),
            log_level=env.str("LOG_LEVEL", "INFO", validate=validate.OneOf(LOG_LEVELS)),
        )
        try:
            env.seal()
        except EnvValidationError as error:
            raise ConfigError(_describe(error.error_messages)) from None
        return settings


def _read_api_keys(env: Any, *, stored: bool) -> Any:
    return env.no_keys("AMUX_API_KEYS", "") if stored else env.api_keys("AMUX_API_KEYS")


def _describe(faults: Any) -> str:
    lines = [f"  {name}: {' '.join(messages)}" for name, messages in sorted(dict(faults).items())]
    return "\n".join(["The gateway cannot start. These environment variables are missing or wrong:", *lines])


def _parse_key(value: str) -> str:
    if not _HEADER_SAFE.fullmatch(value):
        raise ValidationError(
            "Expected a key that can be sent in a header: printable ASCII, no white space, not empty."
        )
    return value


def _parse_keys(value: str) -> tuple[str, ...]:
    try:
        return tuple(_parse_key(key) for key in value.split(","))
    except ValidationError:
        raise ValidationError(
            "Expected one or more keys with commas between them, each of printable ASCII without white space."
        ) from None


def _parse_base_url(value: str) -> str:
    fault = ValidationError("Expected an http(s) URL of a host, without user, query or fragment.")
    try:
        parts = urlsplit(value)
        port_is_sane = parts.port is None or parts.port > 0
        (parts.hostname or "").encode("idna")  # a host that no resolver could be asked for
    except ValueError:
        raise fault from None
    if not (parts.scheme in ("http", "https") and parts.hostname and port_is_sane and _HEADER_SAFE.fullmatch(value)):
        raise fault
    if parts.username is not None or parts.query or parts.fragment:
        raise fault
    if parts.path.rstrip("/").endswith("/v1"):
        raise ValidationError("Expected the URL without the /v1 at its end, which the gateway adds.")
    return value.rstrip("/")


def _parse_model(value: str) -> Model:
    model = find_model(value.strip())
    if model is None:
        raise ValidationError(f"Expected names out of: {', '.join(known.id for known in MODELS)}.")
    return model


def _parse_models(value: str) -> tuple[Model, ...]:
    return tuple(dict.fromkeys(_parse_model(name) for name in value.split(",")))


def _parse_aliases(value: str) -> dict[str, Model]:
    aliases = {}
    for pair in filter(None, (part.strip() for part in value.split(","))):
        alias, equals, name = pair.partition("=")
        if not (alias.strip() and equals):
            raise ValidationError("Expected pairs alias=model with commas between them.")
        if find_model(alias.strip()) is not None:
            raise ValidationError("Expected aliases that are not themselves names of models.")
        aliases[alias.strip().lower()] = _parse_model(name)
    return aliases


def _parse_folder(value: str) -> str | None:
    if value and not (os.path.isdir(value) and os.access(value, os.W_OK | os.X_OK)):
        raise ValidationError("Expected an existing folder that the gateway may write to.")
    return value or None


def _parse_no_keys(value: str) -> tuple[str, ...]:
    if value:
        raise ValidationError("Expected not to be set beside DATABASE_URL: the keys are in there.")
    return ()


def _parse_database_url(value: str) -> str | None:
    if not _is_url_of(value, "sqlite", "postgresql", "postgres"):
        raise ValidationError(
            "Expected a URL like sqlite:////var/lib/amux/amux.db or postgresql://user:password@host/name."
        )
    return value or None


def _parse_redis_url(value: str) -> str | None:
    if not _is_url_of(value, "redis", "rediss", "unix"):
        raise ValidationError("Expected a URL like redis://localhost:6379/0.")
    return value or None


def _is_url_of(value: str, *schemes: str) -> bool:
    """Also where nothing is given."""
    scheme, separator, rest = value.partition("://")
    return value == "" or (scheme in schemes and bool(separator and rest))


def _parse_prices(value: str, models: tuple[Model, ...] | None) -> dict[str, int]:
    """`MiniMax-Image-01=3500,…`: micro-units a picture, for each of `models` at least."""
    prices = {}
    for pair in filter(None, value.split(",")):
        name, _, price = pair.partition("=")
        if not (price.strip().isascii() and price.strip().isdecimal() and len(price.strip()) <= 15):
            raise ValidationError("Expected pairs model=price with commas between them, in whole micro-units.")
        prices[_parse_model(name).id] = int(price)
    missing = [model.id for model in models or () if model.id not in prices]
    if missing:
        raise ValidationError(f"Expected a price for: {', '.join(missing)}.")
    return prices


_PARSERS = {
    "no_keys": _parse_no_keys,
    "database_url": _parse_database_url,
    "redis_url": _parse_redis_url,
    "prices": _parse_prices,
    "folder": _parse_folder,
    "api_key": _parse_key,
    "api_keys": _parse_keys,
    "base_url": _parse_base_url,
    "models": _parse_models,
    "aliases": _parse_aliases,
}
