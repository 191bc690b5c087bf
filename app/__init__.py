"""OpenAI-compatible image endpoints backed by MiniMax Image 01."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Flask

from app import metrics
from app.accounts.api_key import Authenticator, StaticApiKeys
from app.accounts.billing import Billing, NoBilling
from app.accounts.rate_limiter import NoRateLimits, RateLimiter
from app.blueprints.health import health
from app.blueprints.images import create_images_blueprint
from app.blueprints.models import create_models_blueprint
from app.blueprints.usage import register_usage
from app.minimax.client import MinimaxClient
from app.minimax.error_codes import STATUS_CODES, WITHOUT_CODE
from app.services.image_service import ImageService, Minimax
from app.settings import Settings
from app.web.authentication import create_authenticator
from app.web.body_limits import MAX_BODY_BYTES
from app.web.cors import register_cors
from app.web.error_handlers import register_error_handlers
from app.web.request_body import GatewayRequest
from app.web.request_hooks import register_request_hooks

if TYPE_CHECKING:
    from app.storage.storage import Storage

# Seconds past its deadline after which a call of a dead worker stops counting against its key's limits.
LIMIT_MARGIN_SECONDS = 60


def create_app(settings: Settings | None = None, minimax: Minimax | None = None) -> Flask:
    """Create the gateway's WSGI app.

    Without `settings` the environment is read, which raises `ConfigError` if it is wrong. `minimax` takes the client's
    place, for tests.
    """
    settings = settings or Settings.from_env()
    metrics.register_upstream_codes({*map(str, STATUS_CODES), *WITHOUT_CODE})
    accounts = create_accounts(settings)
    service = ImageService(minimax or create_client(settings), accounts.rate_limiter, accounts.billing)
    authenticate = create_authenticator(accounts.authenticator)

    app = Flask(__name__, static_folder=None)
    app.request_class = GatewayRequest
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.config["SPOOL_FOLDER"] = settings.spool_folder
    app.url_map.merge_slashes = False  # a redirect response would not carry the JSON envelope
    app.json.sort_keys = False  # type: ignore[attr-defined]

    register_request_hooks(app)
    register_cors(app, settings.cors_origins)
    register_error_handlers(app)
    app.register_blueprint(create_images_blueprint(settings, service, authenticate))
    app.register_blueprint(create_models_blueprint(settings, authenticate))
    app.register_blueprint(health)
    if accounts.storage:
        register_usage(app, accounts.storage, authenticate)
    return app


def create_client(settings: Settings) -> MinimaxClient:
    return MinimaxClient(
        settings.minimax_base_url,
        settings.minimax_api_key,
        settings.minimax_timeout_seconds,
        max_connections=settings.max_calls,
        spool_folder=settings.spool_folder,
    )


@dataclass(frozen=True)
class Accounts:
    """The accounts backend: authentication, rate limits and billing. `storage` is None without a database."""

    authenticator: Authenticator
    rate_limiter: RateLimiter
    billing: Billing
    storage: Storage | None = None


def create_accounts(settings: Settings) -> Accounts:
    """Create the accounts backend: static keys, or a database. Opens no connection yet, so it is safe before a fork."""
    if not settings.database_url:
        return Accounts(StaticApiKeys(settings.api_keys), NoRateLimits(), NoBilling())

    # Imported here, because SQLAlchemy, alembic and redis take 45 MB, which a gateway without a database does not need.
    from app.limits.rate_limiter import create_rate_limiter
    from app.storage.storage import Storage

    rate_limiter = create_rate_limiter(settings.redis_url, settings.minimax_timeout_seconds + LIMIT_MARGIN_SECONDS)
    storage = Storage(
        settings.database_url,
        prices=settings.prices,
        journal_folder=Path(settings.journal_folder),
        max_call_seconds=settings.minimax_timeout_seconds,
        usage_days=settings.usage_days,
    )
    return Accounts(storage.authenticator, rate_limiter, storage.billing, storage)
