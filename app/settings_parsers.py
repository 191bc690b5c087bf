"""Custom environs parsers: API keys, base URL, models, aliases, origins, prices, database and Redis URLs.

Each parser takes the text of one variable and raises `ValidationError`, whose message never quotes that text.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from urllib.parse import urlsplit

from environs import ValidationError

from app.model_catalog import MODELS, RESPONSE_FORMATS, Model, ModelAlias, find_model
from app.objects.location import Location, parse_location

_HEADER_SAFE = re.compile(r"[!-~]+", re.ASCII)
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?", re.ASCII)
_DEFAULT_PORTS = {"http": 80, "https": 443}


def _parse_key(value: str) -> str:
    if not _HEADER_SAFE.fullmatch(value):
        raise ValidationError(
            "Expected a key that can be sent in a header: printable ASCII, no white space, not empty."
        )
    return value


def _parse_keys(value: str) -> tuple[str, ...]:
    if not value:
        return ()  # allowed beside DATABASE_URL only, which `Settings.from_env` checks
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
        port_is_valid = parts.port is None or parts.port > 0
        (parts.hostname or "").encode("idna")  # raises for a host that cannot be resolved
    except ValueError:
        raise fault from None
    if not (parts.scheme in ("http", "https") and parts.hostname and port_is_valid and _HEADER_SAFE.fullmatch(value)):
        raise fault
    if parts.username is not None or parts.query or parts.fragment:
        raise fault
    if parts.path.rstrip("/").endswith("/v1"):
        raise ValidationError("Expected the URL without the /v1 at its end, which the gateway adds.")
    return value.rstrip("/")


def _parse_public_url(value: str) -> str:
    return _parse_base_url(value) if value else ""


def _parse_image_store(value: str) -> Location | None:
    if not value:
        return None
    location = parse_location(value)
    if location is None:
        raise ValidationError(
            "Expected a URL like file:///var/lib/amux/images, of an absolute path without % ? #, or s3://bucket/prefix."
        )
    return location


def _parse_model(value: str) -> Model:
    model = find_model(value.strip())
    if model is None:
        raise ValidationError(f"Expected names out of: {', '.join(known.id for known in MODELS)}.")
    return model


def _parse_models(value: str) -> tuple[Model, ...]:
    return tuple(dict.fromkeys(_parse_model(name) for name in value.split(",")))


def _parse_aliases(value: str) -> dict[str, ModelAlias]:
    """`alias=model` or `alias=model:response_format`, with commas between them; keys in lower case."""
    aliases = {}
    for pair in filter(None, (part.strip() for part in value.split(","))):
        alias, equals, name = pair.partition("=")
        if not (alias.strip() and equals):
            raise ValidationError("Expected pairs alias=model, or alias=model:response_format, between commas.")
        if find_model(alias.strip()) is not None:
            raise ValidationError("Expected aliases that are not themselves names of models.")
        aliases[alias.strip().lower()] = _parse_alias_target(name)
    return aliases


def _parse_alias_target(value: str) -> ModelAlias:
    name, colon, text = value.partition(":")
    response_format = next((known for known in RESPONSE_FORMATS if known == text.strip()), None)
    if colon and response_format is None:
        raise ValidationError(f"Expected after the model's colon one of: {', '.join(RESPONSE_FORMATS)}.")
    return ModelAlias(_parse_model(name), response_format)


def _parse_folder(value: str) -> str | None:
    if value and not (os.path.isdir(value) and os.access(value, os.W_OK | os.X_OK)):
        raise ValidationError("Expected an existing folder that the gateway may write to.")
    return value or None


def _parse_origins(value: str) -> tuple[str, ...]:
    """Origins as browsers serialize them (RFC 6454 section 6.2), since one in another spelling would match nothing."""
    origins = tuple(dict.fromkeys(part.strip() for part in value.split(","))) if value else ()
    if origins != ("*",) and not all(map(_is_origin, origins)):
        raise ValidationError(
            "Expected * alone, or origins such as https://app.example or http://localhost:3000 with commas between "
            "them: lower case, no path, no slash at the end, no default port."
        )
    return origins


def _is_origin(text: str) -> bool:
    if not _ORIGIN.fullmatch(text):
        return False
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    return port is None or port != _DEFAULT_PORTS.get(parts.scheme)


def _parse_database_url(value: str) -> str | None:
    if not value:
        return None
    from sqlalchemy import make_url  # here, as redis below: a gateway without a database saves 45 MB

    expected = "Expected a URL like sqlite:////var/lib/amux/amux.db or postgresql://user:password@host/name."
    _check_url(value, ("sqlite", "postgresql", "postgres"), make_url, expected)
    return value


def _parse_redis_url(value: str) -> str | None:
    if not value:
        return None
    from redis.connection import parse_url

    _check_url(value, ("redis", "rediss", "unix"), parse_url, "Expected a URL like redis://localhost:6379/0.")
    return value


def _check_url(value: str, schemes: tuple[str, ...], parse: Callable[[str], object], expected: str) -> None:
    scheme, separator, rest = value.partition("://")
    if scheme not in schemes or not (separator and rest):
        raise ValidationError(expected)
    try:
        parse(value)
    except Exception:  # of any type, and its message may hold the password
        raise ValidationError(expected) from None


def _parse_upstream_keys(value: str) -> tuple[tuple[str, int | None], ...]:
    """`sk-a:20,sk-b`: keys, each with its own rate per minute or None."""
    keys = tuple(_parse_upstream_key(part) for part in value.split(",")) if value else ()
    if len({key for key, _ in keys}) < len(keys):
        raise ValidationError("Expected each key once.")
    return keys


def _parse_upstream_key(value: str) -> tuple[str, int | None]:
    key, colon, rate = value.partition(":")
    if not _HEADER_SAFE.fullmatch(key) or (colon and not (rate.isascii() and rate.isdecimal() and len(rate) <= 6)):
        raise ValidationError(
            "Expected keys with commas between them, each of printable ASCII without white space, optionally with a "
            "rate per minute after a colon."
        )
    return key, int(rate) if colon else None


def _parse_prices(value: str) -> dict[str, int]:
    """`MiniMax-Image-01=3500,…`: micro-units per image, by the model's id."""
    prices = {}
    for pair in filter(None, value.split(",")):
        name, _, price = pair.partition("=")
        if not (price.strip().isascii() and price.strip().isdecimal() and len(price.strip()) <= 15):
            raise ValidationError("Expected pairs model=price with commas between them, in whole micro-units.")
        prices[_parse_model(name).id] = int(price)
    return prices


PARSERS = {
    "database_url": _parse_database_url,
    "redis_url": _parse_redis_url,
    "prices": _parse_prices,
    "folder": _parse_folder,
    "api_key": _parse_key,
    "api_keys": _parse_keys,
    "upstream_keys": _parse_upstream_keys,
    "base_url": _parse_base_url,
    "public_url": _parse_public_url,
    "image_store": _parse_image_store,
    "models": _parse_models,
    "aliases": _parse_aliases,
    "origins": _parse_origins,
}
