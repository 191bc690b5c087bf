"""The amux image gateway: OpenAI's image endpoints, drawn by MiniMax Image 01."""

from __future__ import annotations

from flask import Flask

from app.auth import create_authenticator
from app.blueprints.bodies import GatewayRequest
from app.blueprints.health import health
from app.blueprints.images import create_images_blueprint
from app.blueprints.models import create_models_blueprint
from app.blueprints.usage import register_usage
from app.body import MAX_BODY_BYTES
from app.config import Settings
from app.error_handlers import register_error_handlers
from app.minimax.client import MinimaxClient
from app.opening import open_accounts
from app.request_log import register_request_log
from app.services.image_service import ImageService, Minimax


def create_app(settings: Settings | None = None, minimax: Minimax | None = None) -> Flask:
    """The gateway as a WSGI app. Without arguments it is configured by the environment (`ConfigError` if wrong)."""
    settings = settings or Settings.from_env()
    minimax = minimax or MinimaxClient(
        settings.minimax_base_url,
        settings.minimax_api_key,
        settings.minimax_timeout_seconds,
        max_connections=settings.max_calls,
        spool_folder=settings.spool_folder,
    )
    accounts = open_accounts(settings)
    service = ImageService(minimax, accounts.limiter, accounts.till)
    authenticate = create_authenticator(accounts.callers)

    app = Flask(__name__, static_folder=None)
    app.request_class = GatewayRequest
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.config["SPOOL_FOLDER"] = settings.spool_folder
    app.config["MAX_FORM_MEMORY_SIZE"] = MAX_BODY_BYTES  # a data URL may be a form field
    app.url_map.merge_slashes = False  # a redirect would wear no envelope
    app.json.sort_keys = False  # type: ignore[attr-defined]

    register_request_log(app)
    register_error_handlers(app)
    app.register_blueprint(create_images_blueprint(settings, service, authenticate))
    app.register_blueprint(create_models_blueprint(settings, authenticate))
    app.register_blueprint(health)
    if accounts.storage:
        register_usage(app, accounts.storage, authenticate)
    return app
