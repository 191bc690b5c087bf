"""Creates the parts of the gateway from its settings: client, key pool, accounts, stores of images and answers."""

from __future__ import annotations

import atexit
import logging
import os
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from app.accounts.api_key import Authenticator, StaticApiKeys, fingerprint
from app.accounts.billing import Billing, NoBilling
from app.accounts.rate_limiter import NoRateLimits, RateLimiter
from app.errors import DatabaseUnavailable
from app.image_store.create import create_image_store
from app.image_store.kept_images import KeptImages
from app.minimax.client import MinimaxClient
from app.minimax.errors import error_of_code
from app.native_thread import NativeThreads
from app.objects.file_objects import FileObjects
from app.objects.location import FileLocation, S3Location
from app.objects.store import ObjectStore
from app.pacing.key_pool import RESTS, KeyPool, UpstreamKey
from app.pacing.sqlite_store import SqliteStore
from app.pacing.store import KeyRate, PacerStore
from app.settings import ConfigError, Settings
from app.storage.answers_file import AnswersFile
from app.storage.task_store import SqlTaskStore
from app.tasks.answer_journal import AnswerJournal
from app.tasks.task import TaskStore
from app.web.shutdown import shutting_down

if TYPE_CHECKING:
    from app.storage.storage import Storage
    from app.storage.task_executor import TaskExecutor

log = logging.getLogger(__name__)

# Seconds past its deadline after which a call of a dead worker stops counting against its key's limits.
LIMIT_MARGIN_SECONDS = 60
# How long after SIGTERM calls still wait for their turn: one that begins then ends before gunicorn's graceful timeout.
QUEUE_DRAIN_SECONDS = 20
# Seconds past queue and deadline after which a task without an answer is taken for lost.
TASK_MARGIN_SECONDS = 900
BODY_THREADS = 4  # for files of large answers


def create_client(settings: Settings) -> MinimaxClient:
    return MinimaxClient(
        settings.minimax_base_url,
        settings.minimax_timeout_seconds,
        max_connections=settings.max_calls,
        spool_folder=settings.spool_folder,
    )


def create_key_pool(settings: Settings, window_seconds: float) -> KeyPool:
    """The pool of upstream keys. Its store starts empty: a restart ends all rests.

    Raises `ConfigError` if the state folder cannot be written to.
    """
    keys = upstream_keys(settings)
    rates = [KeyRate(key.fingerprint, key.rate) for key in keys]
    own = SqliteStore(state_file(settings), window_seconds=window_seconds)
    try:
        own.create(rates)
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(f"The gateway cannot start: AMUX_STATE_FOLDER cannot be written to ({error}).") from None
    _remove_at_exit(own)
    log.info("Upstream keys: %s", ", ".join(f"{key.fingerprint} at {key.rate or 'any rate'}" for key in keys))
    return KeyPool(
        keys,
        _shared_store(settings.redis_url, rates, own, window_seconds) if settings.redis_url else own,
        error_of_code,
        queue_seconds=settings.queue_seconds,
        max_waiting=settings.max_queued,
        rests=RESTS if settings.rest_keys else None,
        must_stop=lambda: shutting_down.seconds() > QUEUE_DRAIN_SECONDS,
    )


def _remove_at_exit(store: SqliteStore) -> None:
    owner = os.getpid()  # the processes that are forked later inherit the hook

    @atexit.register
    def remove() -> None:
        if os.getpid() == owner:
            store.remove()


def upstream_keys(settings: Settings) -> list[UpstreamKey]:
    given = settings.minimax_api_keys or ((settings.minimax_api_key, None),)
    default = settings.minimax_requests_per_minute
    return [UpstreamKey(fingerprint(secret), secret, default if rate is None else rate) for secret, rate in given]


def state_file(settings: Settings) -> Path:
    """Where the workers of this instance share the state of its upstream keys."""
    return Path(settings.state_folder) / f"upstream-{settings.port}.db"


def _shared_store(url: str, rates: Sequence[KeyRate], own: SqliteStore, window_seconds: float) -> PacerStore:
    # Imported here, as in `create_accounts`.
    from app.pacing.failover_store import FailoverStore
    from app.pacing.redis_store import RedisStore

    return FailoverStore(RedisStore(url, rates, window_seconds=window_seconds), own)


def create_kept_images(settings: Settings) -> KeptImages | None:
    """The images that are kept, None without AMUX_IMAGE_STORE. Raises `ConfigError` if their folder cannot be created.

    A store in S3 is not contacted: the gateway starts without it.
    """
    if settings.image_store is None:
        return None
    if isinstance(settings.image_store, FileLocation):
        try:
            settings.image_store.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            message = f"The gateway cannot start: the folder of AMUX_IMAGE_STORE cannot be created ({error})."
            raise ConfigError(message) from None
    store = create_image_store(settings.image_store, settings.spool_folder)
    return KeptImages(store, settings.public_url, settings.image_days)


def create_task_store(settings: Settings, storage: Storage | None) -> TaskStore:
    """The store of answers: the database if there is one, else a SQLite file in the state folder.

    Large bodies are objects of the image store if that is S3, else rows of PostgreSQL, else files in the state folder.
    Raises `ConfigError` if the state folder cannot be written to, or its file of answers is damaged.
    """
    folder = Path(settings.state_folder).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        executor, bodies = _in_database(settings, storage, folder) if storage else _in_file(settings, folder)
    except OSError as error:
        raise ConfigError(f"The gateway cannot start: AMUX_STATE_FOLDER cannot be written to ({error}).") from None
    return SqlTaskStore(
        executor,
        bodies,
        keep_hours=settings.answer_hours,
        max_bytes=settings.answer_bytes,
        max_task_seconds=settings.queue_seconds + settings.minimax_timeout_seconds + TASK_MARGIN_SECONDS,
    )


def _in_file(settings: Settings, folder: Path) -> tuple[TaskExecutor, ObjectStore]:
    file = AnswersFile(folder / "answers.db")
    try:
        file.create()
    except DatabaseUnavailable as error:
        message = f"The gateway cannot start: {folder / 'answers.db'} cannot be used ({error.__cause__})."
        raise ConfigError(message) from None
    return file, _create_bodies(settings, folder / "answers")


def _in_database(settings: Settings, storage: Storage, folder: Path) -> tuple[TaskExecutor, ObjectStore]:
    # Imported here, as in `create_accounts`.
    from app.storage.database_executor import DatabaseExecutor
    from app.storage.group_commit import GroupCommit
    from app.storage.postgresql_objects import PostgresqlObjects

    database = storage.database
    executor = DatabaseExecutor(database, GroupCommit(database))
    if database.engine.dialect.name == "postgresql" and not isinstance(settings.image_store, S3Location):
        return executor, PostgresqlObjects(database)
    return executor, _create_bodies(settings, folder / f"answers-{Path(database.engine.url.database or '').name}")


def create_answer_journal(settings: Settings) -> AnswerJournal:
    """Its folder is created with its first entry."""
    return AnswerJournal(FileObjects(Path(settings.journal_folder).absolute() / "answers", NativeThreads(BODY_THREADS)))


def _create_bodies(settings: Settings, folder: Path) -> ObjectStore:
    location = settings.image_store
    if isinstance(location, S3Location):
        from app.objects.s3_objects import S3Objects, create_client

        return S3Objects(create_client(), location.bucket, f"{location.prefix}answers/", settings.spool_folder)
    folder.mkdir(exist_ok=True)
    return FileObjects(folder, NativeThreads(BODY_THREADS))


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
