"""Owns the operator's switches: read once from the environment, typed, frozen, and all faults told at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from environs import Env, EnvValidationError, validate

from app.model_catalog import IMAGE_01, RESPONSE_FORMATS, Model, ModelAlias, ResponseFormat
from app.settings_values import PARSERS

DEFAULT_BASE_URL = "https://api.minimax.io"
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


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
    model_aliases: Mapping[str, ModelAlias] = field(default_factory=dict)
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
        for name, parser in PARSERS.items():
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
