"""Owns which accounts the operator has chosen: static keys and nothing stored, or a database with all of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from app.accounts.caller import Callers, StaticCallers
from app.accounts.limiter import Limiter, Unlimited
from app.accounts.till import FreeOfCharge, Till
from app.config import Settings

if TYPE_CHECKING:
    from app.storage.storage import Storage

# How long after its deadline a call in flight is forgotten, where the worker that held it has died.
LIMIT_MARGIN_SECONDS = 60


@dataclass(frozen=True)
class Accounts:
    """`storage` is None where nothing is stored."""

    callers: Callers
    limiter: Limiter
    till: Till
    storage: Storage | None = None


def open_accounts(settings: Settings) -> Accounts:
    """Asks nothing of the database or of Redis yet, and is safe before a fork."""
    if not settings.database_url:
        return Accounts(StaticCallers(settings.api_keys), Unlimited(), FreeOfCharge())

    # Not at the top: SQLAlchemy, alembic and redis cost 45 MB, which nobody pays who has no database.
    from app.limits.limiter import create_limiter
    from app.storage.storage import Storage

    limiter = create_limiter(settings.redis_url, settings.minimax_timeout_seconds + LIMIT_MARGIN_SECONDS)
    storage = Storage(
        settings.database_url,
        prices=settings.prices,
        journal_folder=Path(settings.journal_folder),
        max_call_seconds=settings.minimax_timeout_seconds,
        usage_days=settings.usage_days,
    )
    return Accounts(storage.callers, limiter, storage.till, storage)
