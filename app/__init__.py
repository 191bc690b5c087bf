"""OpenAI-compatible image endpoints backed by MiniMax Image 01."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from flask import Flask
from werkzeug.routing import Rule

from app import metrics
from app.blueprints.health import create_health_blueprint
from app.blueprints.images import create_images_blueprint
from app.blueprints.kept_images import register_kept_images
from app.blueprints.models import create_models_blueprint
from app.blueprints.openapi import register_openapi
from app.blueprints.pages import register_pages
from app.blueprints.tasks import create_tasks_blueprint
from app.blueprints.usage import register_usage
from app.components import (
    create_accounts,
    create_answer_journal,
    create_client,
    create_kept_images,
    create_key_pool,
    create_task_store,
)
from app.minimax.error_codes import STATUS_CODES, UNKNOWN_CODE, WITHOUT_CODE
from app.pacing.store import WINDOW_SECONDS
from app.services.image_service import ImageService, Minimax
from app.settings import Settings
from app.tasks.supervisor import Supervisor
from app.tasks.task_service import TaskService
from app.web.authentication import create_authenticator
from app.web.body_limits import MAX_BODY_BYTES
from app.web.cors import register_cors
from app.web.error_handlers import register_error_handlers
from app.web.request_body import GatewayRequest
from app.web.request_hooks import register_request_hooks


def create_app(
    settings: Settings | None = None, minimax: Minimax | None = None, *, window_seconds: float = WINDOW_SECONDS
) -> Flask:
    """The gateway as a WSGI app. Without arguments it reads the environment (`ConfigError` if that is wrong).

    `window_seconds` is in which MiniMax counts the calls of a key. Tests shorten it.
    """
    settings = settings or Settings.from_env()
    metrics.register_upstream_codes({*map(str, STATUS_CODES), *WITHOUT_CODE})
    accounts = create_accounts(settings)
    key_pool = create_key_pool(settings, window_seconds)
    kept_images = create_kept_images(settings)
    service = ImageService(
        minimax or create_client(settings), key_pool, accounts.rate_limiter, accounts.billing, kept_images
    )
    store = create_task_store(settings, accounts.storage)
    journal = create_answer_journal(settings)
    tasks = TaskService(service, store, journal, Supervisor(store, journal), join_retries=settings.join_retries)
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
    app.register_blueprint(create_images_blueprint(settings, tasks, authenticate))
    app.register_blueprint(create_tasks_blueprint(tasks, authenticate))
    app.register_blueprint(create_models_blueprint(settings, authenticate))
    app.register_blueprint(create_health_blueprint(key_pool))
    if kept_images:
        register_kept_images(app, kept_images, authenticate, accel=settings.image_accel)
    if accounts.storage:
        register_usage(app, accounts.storage, accounts.rate_limiter, authenticate)
    if settings.pages:
        register_openapi(app, partial(_build_document, settings))
        register_pages(app)
    app.extensions["task_supervisor"] = tasks.supervisor
    return app


def _build_document(settings: Settings, routes: Iterable[Rule]) -> bytes:
    """The OpenAPI document, with MiniMax's codes and what any other number is answered with."""
    # Imported here, because apispec takes memory that a gateway without readers of the document does not need.
    from app.openapi.document import build_document
    from app.openapi.errors import ErrorCode

    numbers = {str(code): mapping for code, mapping in STATUS_CODES.items()}
    mappings = {**numbers, **WITHOUT_CODE, "any other number": UNKNOWN_CODE}
    codes = [ErrorCode(code, each.http_status, each.should_retry, each.meaning) for code, each in mappings.items()]
    return build_document(routes, settings, codes)
