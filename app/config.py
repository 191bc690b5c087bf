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
    `spool_folder` holds big bodies while they are worked on; `model_aliases` is keyed in lower case.
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
    host: str = "127.0.0.1"
    port: int = 8000
    web_concurrency: int = 2
    log_level: str = "INFO"

    @classmethod
    def from_env(cls) -> Self:
        """Reads the environment. Raises `ConfigError`, which names every faulty variable and prints no value."""
        env: Any = Env(eager=False)  # typed Any: environs attaches its parsers by name
        for name, parser in _PARSERS.items():
            env.add_parser(name, parser)
        # A platform that sets PORT routes to the machine's address; without one, nobody else should reach us.
        default_host = "127.0.0.1" if env.str("PORT", None) is None else "0.0.0.0"
        settings = cls(
            api_keys=env.api_keys("AMUX_API_KEYS"),
            minimax_api_key=env.api_key("MINIMAX_API_KEY"),
            minimax_base_url=env.base_url("MINIMAX_BASE_URL", DEFAULT_BASE_URL),
            minimax_timeout_seconds=env.float("MINIMAX_TIMEOUT_SECONDS", 180.0, validate=validate.Range(1, 3600)),
            enabled_models=env.models("AMUX_ENABLED_MODELS", IMAGE_01.id),
            model_aliases=env.aliases("AMUX_MODEL_ALIASES", ""),
            forward_dimensions=env.bool("AMUX_FORWARD_DIMENSIONS", False),
            default_response_format=env.str(
                "AMUX_DEFAULT_RESPONSE_FORMAT", "url", validate=validate.OneOf(RESPONSE_FORMATS)
            ),
            max_calls=env.int("AMUX_MAX_CALLS", 1024, validate=validate.Range(1, 10_000)),
            transfer_seconds=env.float("AMUX_TRANSFER_SECONDS", 120.0, validate=validate.Range(1, 3600)),
            spool_folder=env.folder("AMUX_SPOOL_FOLDER", ""),
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


_PARSERS = {
    "folder": _parse_folder,
    "api_key": _parse_key,
    "api_keys": _parse_keys,
    "base_url": _parse_base_url,
    "models": _parse_models,
    "aliases": _parse_aliases,
}
